// Exclusive prefix sums of u32, modulo 2^32, step 1 of 2: sums within blocks of 2,048 values, in place, and the total of each block.
// For more than one block, scan the totals in the same way, then run scan-add. With one block the total is the sum of everything.
// values holds `elements` values; totals has one value per block.
// Dispatch: one workgroup per block; 2-D beyond 65,535.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  elements: u32,
}

@group(0) @binding(0) var<storage, read_write> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> totals: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

// Fixed, not made from WORKGROUP_SIZE, so that the host's buffers are the same for all sizes. Also in scan-add.
const BLOCK = 2048u;
// The only shared memory: the whole block in it would save reads, but some drivers take seconds to compile its zeroing.
var<workgroup> run_sums: array<u32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let block = workgroup.y * grid.x + workgroup.x;
  let block_begin = block * BLOCK;
  if (block_begin >= params.elements) {
    return;
  }
  let size = min(params.elements - block_begin, BLOCK);
  // Each invocation has one run of the block.
  let run = (BLOCK + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
  let begin = block_begin + min(local * run, size);
  let end = block_begin + min((local + 1u) * run, size);
  var run_sum = 0u;
  for (var i = begin; i < end; i++) {
    run_sum += values[i];
  }
  run_sums[local] = run_sum;
  workgroupBarrier();

  // Inclusive sums over the runs: each step doubles how many an entry covers.
  for (var reach = 1u; reach < WORKGROUP_SIZE; reach *= 2u) {
    var before = 0u;
    if (local >= reach) {
      before = run_sums[local - reach];
    }
    workgroupBarrier();
    run_sums[local] += before;
    workgroupBarrier();
  }

  var sum = run_sums[local] - run_sum;
  for (var i = begin; i < end; i++) {
    let value = values[i];
    values[i] = sum;
    sum += value;
  }
  if (local == WORKGROUP_SIZE - 1u) {
    totals[block] = sum;
  }
}
