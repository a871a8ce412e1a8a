// Three axes read through a matrix, with linear interpolation: float32 [batch, X, Y, Z, inner] to [batch, X', Y', Z', inner]. Along the last axis first, then the second, then the first.
// Dispatch: one invocation per result element of the window [first, first + elements); 2-D beyond 65,535 workgroups. The bound part of the source
// begins at batch element source_start, that of the result at result_start.
// import: exact
// import: integers
// import: affine

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
  result_start: u32,
  // Result elements of one item.
  item_elements: u32,
  // Where this step's faults begin: per item the number of non-finite results, and the first one's index in the item.
  fault_offset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@group(0) @binding(2) var<storage, read_write> faults: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> params: Params;

// Up to 2^24: exact.
fn weight(at: At) -> f32 {
  let steps = f32(at.rest);
  return guard(steps * 0x1p-24);
}
// From a to b: a where they are equal, to the bit.
fn between(a: f32, b: f32, t: f32) -> f32 {
  return guard(a + guard(guard(b - a) * t));
}
fn along_z(place: Place, x: i32, y: i32) -> f32 {
  let a = load_flushed(source[element_at(place, x, y, place.z.low)]);
  let b = load_flushed(source[element_at(place, x, y, place.z.low + 1)]);
  return between(a, b, weight(place.z));
}
fn along_y(place: Place, x: i32) -> f32 {
  return between(along_z(place, x, place.y.low), along_z(place, x, place.y.low + 1), weight(place.y));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let unit = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (unit >= params.elements) {
    return;
  }
  let element = params.first + unit;
  let place = place_of(element);
  if (place.filled) {
    result[element - params.result_start] = 0u;
    return;
  }
  let bits = bitcast<u32>(between(along_y(place, place.x.low), along_y(place, place.x.low + 1), weight(place.x)));
  result[element - params.result_start] = bits;
  if (not_finite(bits)) {
    let item = element / params.item_elements;
    let fault = params.fault_offset + 2u * item;
    atomicAdd(&faults[fault], 1u);
    atomicMin(&faults[fault + 1u], element - item * params.item_elements);
  }
}
