// Normalisation, once the parameters of each group are known: ((x - subHigh) - subLow) * mul + add, then clipped. source is [groups, members] of DTYPE,
// result the same in float32; affine is f32 [rows, 6]: subHigh, subLow, mul, add, clipLow, clipHigh.
// Dispatch: one invocation per element of the window [first, first + elements); 2-D beyond 65,535 workgroups. Elements and groups are numbered through
// the batch. The bound part of source begins at batch element source_start, that of result at result_start; group g takes row
// (g - affine_start) modulo affine_rows, so that items can share rows.
// import: exact
// import: members

override CLIP: bool = false;
// Members that are zero come out as +0.
override NONZERO: bool = false;
override WORKGROUP_SIZE: u32 = 256;

struct Params {
  elements: u32,
  first: u32,
  source_start: u32,
  result_start: u32,
  members: u32,
  affine_start: u32,
  affine_rows: u32,
  // Elements of one item.
  item_elements: u32,
  // Where this step's faults begin: per item the number of non-finite results, and the first one's index in the item.
  fault_offset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read> affine: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>>;
@group(0) @binding(4) var<uniform> params: Params;

// Clipping compares keys: y may be infinite or NaN, which float comparisons are free to mistake. NaN stays, to be judged.
fn clip(y: f32, low: f32, high: f32) -> f32 {
  let bits = bitcast<u32>(y);
  let key = key_of(y);
  let clipped = select(select(y, high, key > key_of(high)), low, key < key_of(low));
  return select(clipped, y, (bits & 0x7fffffffu) > 0x7f800000u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (at >= params.elements) {
    return;
  }
  let element = params.first + at;
  let row = 6u * ((element / params.members - params.affine_start) % params.affine_rows);
  let x = member(element - params.source_start);

  let centred = guard(guard(x - load_flushed(affine[row])) - load_flushed(affine[row + 1u]));
  var y = guard(guard(centred * load_flushed(affine[row + 2u])) + load_flushed(affine[row + 3u]));
  if (CLIP) {
    y = clip(y, load_flushed(affine[row + 4u]), load_flushed(affine[row + 5u]));
  }
  if (NONZERO && x == 0.0) {
    y = 0.0;
  }

  let bits = bitcast<u32>(y);
  result[element - params.result_start] = bits;
  if (not_finite(bits)) {
    let item = element / params.item_elements;
    let fault = params.fault_offset + 2u * item;
    atomicAdd(&faults[fault], 1u);
    atomicMin(&faults[fault + 1u], element - item * params.item_elements);
  }
}
