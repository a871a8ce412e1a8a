// Three axes read through a matrix, the nearest element, bits untouched: any dtype, [batch, X, Y, Z, inner] to [batch, X', Y', Z', inner].
// The dispatch makes `elements` elements of the result from `first` on; `result` begins there, `source` at the batch's element source_start.
// Dispatch: one invocation per word of the result where elements are smaller than a word, else per element; 2-D beyond 65,535 workgroups.
// Bytes behind the last element of a result that ends within a word become 0.
// import: elements
// import: integers
// import: affine

// 1, 2, 4, 8 or 16.
override ELEMENT_BYTES: u32;
override WORKGROUP_SIZE: u32 = 256;

struct Params {
  lower_x: vec4u,
  upper_x: vec4u,
  lower_y: vec4u,
  upper_y: vec4u,
  lower_z: vec4u,
  upper_z: vec4u,
  extent_x: u32,
  extent_y: u32,
  extent_z: u32,
  length_x: u32,
  length_y: u32,
  length_z: u32,
  inner: u32,
  elements: u32,
  first: u32,
  source_start: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let unit = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  let begin = unit * elements_per_word(ELEMENT_BYTES);
  if (begin >= params.elements) {
    return;
  }
  if (ELEMENT_BYTES < 4u) {
    let end = min(begin + elements_per_word(ELEMENT_BYTES), params.elements);
    var word = 0u;
    for (var i = begin; i < end; i++) {
      let place = place_of(params.first + i);
      if (!place.filled) {
        let from_element = element_at(place, nearest(place.x), nearest(place.y), nearest(place.z));
        word = put(word, i, ELEMENT_BYTES, take(source[from_element / elements_per_word(ELEMENT_BYTES)], from_element, ELEMENT_BYTES));
      }
    }
    result[unit] = word;
    return;
  }
  let words = ELEMENT_BYTES / 4u;
  let place = place_of(params.first + begin);
  let from_word = element_at(place, nearest(place.x), nearest(place.y), nearest(place.z)) * words;
  for (var w = 0u; w < words; w++) {
    result[unit * words + w] = select(source[from_word + w], 0u, place.filled);
  }
}
