// One axis of a resampling: source seen as float32 [outer, extent, inner] to result [outer, length, inner]. The sum over taps starts with the first
// product, in the order of the table. Items of a batch are part of outer.
// Dispatch: one invocation per result element of the window [first, first + elements); 2-D beyond 65,535 workgroups. The bound part of the source
// begins at batch element source_start, that of the result at result_start.
// import: exact

// Taps per position, for unrolling; 0 reads them from the parameters.
override TAPS: u32 = 0;
// Whether this is the last axis: only its results are judged.
override LAST: bool = false;
override WORKGROUP_SIZE: u32 = 256;

struct Params {
  elements: u32,
  first: u32,
  source_start: u32,
  result_start: u32,
  length: u32,
  extent: u32,
  inner: u32,
  taps: u32,
  // Result elements of one item.
  item_elements: u32,
  // Where this step's faults begin: per item the number of non-finite results, and the first one's index in the item.
  fault_offset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
// Positions, i32 [length, taps], then weights, f32 [length, taps].
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (at >= params.elements) {
    return;
  }
  let element = params.first + at;
  let taps = select(TAPS, params.taps, TAPS == 0u);
  let row = element / params.inner;
  let outer = row / params.length;
  let indices = (row - outer * params.length) * taps;
  let weights = params.length * taps + indices;
  // May wrap below zero; adding the tap's position brings it back.
  let base = outer * params.extent * params.inner + (element - row * params.inner) - params.source_start;

  var sum = guard(load_flushed(tables[weights]) * load_flushed(source[base + tables[indices] * params.inner]));
  for (var t = 1u; t < taps; t++) {
    let value = load_flushed(source[base + tables[indices + t] * params.inner]);
    sum = guard(sum + guard(load_flushed(tables[weights + t]) * value));
  }

  let bits = bitcast<u32>(sum);
  result[element - params.result_start] = bits;
  if (LAST && not_finite(bits)) {
    let item = element / params.item_elements;
    let fault = params.fault_offset + 2u * item;
    atomicAdd(&faults[fault], 1u);
    atomicMin(&faults[fault + 1u], element - item * params.item_elements);
  }
}
