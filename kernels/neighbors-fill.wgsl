// Neighbours of periodic structures, step 2 of 2: writes the edges of each row from where the scanned counts say. Inputs as in neighbors-count.
// offsets has one value per row. Of the window's edges: ends is [2, edges], source and target; images is int32 [edges, 3]; geometry is float32, distance [edges], then vector
// [edges, 3], each rounded once from the exact value.
// Dispatch: one invocation per row of the window [first_row, first_row + window); 2-D beyond 65,535 workgroups.
// import: integers
// import: neighbors

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  window: u32,
  first_row: u32,
  targets: u32,
  // Edges of the window, and of the rows before it.
  edges: u32,
  first_edge: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<u32>;
@group(0) @binding(1) var<storage, read> cells: array<u32>;
@group(0) @binding(2) var<storage, read> atoms: array<u32>;
@group(0) @binding(3) var<storage, read> limits: array<u32>;
@group(0) @binding(4) var<storage, read> offsets: array<u32>;
@group(0) @binding(5) var<storage, read_write> ends: array<u32>;
@group(0) @binding(6) var<storage, read_write> images: array<i32>;
@group(0) @binding(7) var<storage, read_write> geometry: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

// Steps of 2^-40 Å as bits of a float32 in Å, to nearest, ties to even.
fn rounded(d: vec2u) -> u32 {
  let size = magnitude64(d);
  if (all(size == vec2u(0u))) {
    return 0u;
  }
  let empty = select(countLeadingZeros(size.y), 32u + countLeadingZeros(size.x), size.y == 0u);
  var high = size.y;
  var low = size.x;
  if (empty >= 32u) {
    high = low << (empty - 32u);
    low = 0u;
  } else if (empty > 0u) {
    high = (high << empty) | (low >> (32u - empty));
    low = low << empty;
  }
  let mantissa = high >> 8u;
  let rest = high & 0xffu;
  let up = rest > 0x80u || (rest == 0x80u && (low != 0u || (mantissa & 1u) == 1u));
  // The mantissa's leading bit adds one to the exponent, 63 - empty - 40.
  return (d.y & 0x80000000u) | (((149u - empty) << 23u) + mantissa + select(0u, 1u, up));
}

// -1, 0 or 1: how the square compares with that of the midpoint between the float32 `bits` and the next.
fn beside_middle(square: vec4u, bits: u32) -> i32 {
  let twice = 2u * ((bits & 0x7fffffu) | 0x800000u) + 1u;
  let product = wide_product(twice, twice);
  // Half a unit in the last place is 2^(exponent - 111) steps.
  let shift = 2u * ((bits >> 23u) - 111u);
  let by = shift & 31u;
  let low = product.x << by;
  // by is even, so that 31 - by is not negative; two steps, since shifting by 32 is not possible.
  let middle = (product.y << by) | ((product.x >> 1u) >> (31u - by));
  let high = (product.y >> 1u) >> (31u - by);
  var other = vec4u(low, middle, high, 0u);
  if (shift >= 32u) {
    other = vec4u(0u, low, middle, high);
  }
  if (all(square == other)) {
    return 0;
  }
  let less = is_less64(square.zw, other.zw) || (all(square.zw == other.zw) && is_less64(square.xy, other.xy));
  return select(1, -1, less);
}

// The square root, to nearest, ties to even: a guess, made right by exact comparison.
fn root(square: vec4u, near: vec3f) -> u32 {
  let size = near.x * near.x + near.y * near.y + near.z * near.z;
  var inverse = bitcast<f32>(0x5f3759dfu - (bitcast<u32>(size) >> 1u));
  for (var step = 0; step < 3; step++) {
    inverse *= 1.5 - 0.5 * size * inverse * inverse;
  }
  var bits = bitcast<u32>(size * inverse);
  loop {
    let above = beside_middle(square, bits);
    if (above < 0 || (above == 0 && (bits & 1u) == 0u)) {
      break;
    }
    bits++;
  }
  loop {
    let below = beside_middle(square, bits - 1u);
    if (below > 0 || (below == 0 && (bits & 1u) == 0u)) {
      break;
    }
    bits--;
  }
  return bits;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (at >= params.window) {
    return;
  }
  let row = params.first_row + at;
  let source = cells[rows[4u * row] * CELL_WORDS + 30u] + rows[4u * row + 1u];
  var walk = walk_of(row, vec2u(limits[4u * source], limits[4u * source + 1u]));
  var ties = limits[4u * source + 2u];
  var edge = offsets[row] - params.first_edge;
  while (next_neighbor(&walk, params.targets)) {
    if (walk.at_limit) {
      if (ties == 0u) {
        continue;
      }
      ties--;
    }
    ends[edge] = walk.source;
    ends[params.edges + edge] = walk.target_atom - walk.first_atom;
    let image = image_of(&walk);
    images[3u * edge] = image.x;
    images[3u * edge + 1u] = image.y;
    images[3u * edge + 2u] = image.z;
    let d = walk.point;
    geometry[edge] = 0u;
    // Of atoms in one place, which are faults, the root could not be found.
    if (!walk.is_self && !walk.coincident) {
      geometry[edge] = root(square_of(d), vector_of(d));
    }
    let vector = params.edges + 3u * edge;
    geometry[vector] = rounded(d.x);
    geometry[vector + 1u] = rounded(d.y);
    geometry[vector + 2u] = rounded(d.z);
    edge++;
  }
}
