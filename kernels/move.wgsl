// Moves elements, bits untouched: gather and permute, with the batch as the outermost of the axes. Each axis of the result walks one axis of the
// source: identity, or through a table of positions, where -1 takes the fill. A permutation is identities in another order of strides.
// Axes that lie next to each other in both may be given as one: every axis costs a division.
// The dispatch makes `elements` elements of the result from `first` on; `result` begins there, `source` at the batch's element source_start.
// Dispatch: one invocation per word of the result where elements are smaller than a word, else per element; 2-D beyond 65,535 workgroups.
// At most 2^31 elements in a dispatch and 2^32 - 1 in a batch. Bytes behind the last element of a result that ends within a word become 0.
// import: elements

// 1, 2, 4, 8 or 16.
override ELEMENT_BYTES: u32;
override WORKGROUP_SIZE: u32 = 256;

struct Params {
  elements: u32,
  first: u32,
  source_start: u32,
  // Axes of the result with the batch, at least 1.
  rank: u32,
  // One element's bytes.
  fill: vec4u,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
// Per axis, outermost first: extent in the result, stride of its axis in the source in elements, where in `tables` its i32 positions begin
// (0xffffffff for identity). The positions come after the axes.
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

const IDENTITY = 0xffffffffu;
const NOWHERE = 0xffffffffu;

// Where in the source an axis stands at a position, in steps of its stride, or NOWHERE.
fn position_of(table: u32, at: u32) -> u32 {
  if (table == IDENTITY) {
    return at;
  }
  return tables[table + at];
}

// A row is what lies along the innermost axis: the place in the source of its step 0.
struct Row {
  offset: u32,
  filled: bool,
}

fn find_row(row: u32) -> Row {
  // May wrap below zero; the strides bring it back.
  var offset = 0u - params.source_start;
  var rest = row;
  for (var axis = params.rank - 1u; axis > 0u; axis--) {
    let description = 3u * (axis - 1u);
    let extent = tables[description];
    let outer = rest / extent;
    let position = position_of(tables[description + 2u], rest - outer * extent);
    if (position == NOWHERE) {
      return Row(0u, true);
    }
    offset += position * tables[description + 1u];
    rest = outer;
  }
  return Row(offset, false);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let unit = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  let begin = unit * elements_per_word(ELEMENT_BYTES);
  if (begin >= params.elements) {
    return;
  }
  let innermost = 3u * (params.rank - 1u);
  let extent = tables[innermost];
  let stride = tables[innermost + 1u];
  let table = tables[innermost + 2u];
  var number = (params.first + begin) / extent;
  var at = params.first + begin - number * extent;
  var row = find_row(number);

  if (ELEMENT_BYTES < 4u) {
    let end = min(begin + elements_per_word(ELEMENT_BYTES), params.elements);
    var word = 0u;
    for (var i = begin; i < end; i++) {
      if (at == extent) {
        at = 0u;
        number++;
        row = find_row(number);
      }
      let position = position_of(table, at);
      var value = params.fill.x;
      if (!row.filled && position != NOWHERE) {
        let from_element = row.offset + position * stride;
        value = take(source[from_element / elements_per_word(ELEMENT_BYTES)], from_element, ELEMENT_BYTES);
      }
      word = put(word, i, ELEMENT_BYTES, value);
      at++;
    }
    result[unit] = word;
    return;
  }

  let words = ELEMENT_BYTES / 4u;
  let position = position_of(table, at);
  if (row.filled || position == NOWHERE) {
    for (var w = 0u; w < words; w++) {
      result[unit * words + w] = params.fill[w];
    }
    return;
  }
  let from_word = (row.offset + position * stride) * words;
  for (var w = 0u; w < words; w++) {
    result[unit * words + w] = source[from_word + w];
  }
}
