// Moments of integer dtypes: per block of 4,096 members the exact sums of x and x², and the number of members that are not zero.
// source is [groups, members]; blocks restart at each group. results is [blocks, 4]: sum of x (i32), sums of the lower and of the upper 16 bits of
// the squares, count. A square has at most 32 bits, so that no sum of 4,096 overflows; the sum of x² is lower + upper * 65,536.
// Dispatch: one workgroup per block of the window [first_block, first_block + blocks); 2-D beyond 65,535. Blocks are numbered through the batch,
// blocks_per_group to a group. The bound part of source begins at batch element source_start, that of results at block results_start.
// import: exact
// import: members

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  blocks: u32,
  first_block: u32,
  blocks_per_group: u32,
  members: u32,
  source_start: u32,
  results_start: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> results: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const BLOCK = 4096u;
var<workgroup> totals: array<atomic<u32>, 4>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = workgroup.y * grid.x + workgroup.x;
  if (at >= params.blocks) {
    return;
  }
  let block = params.first_block + at;
  let group = block / params.blocks_per_group;
  let begin = (block - group * params.blocks_per_group) * BLOCK;
  let size = min(params.members - begin, BLOCK);
  let base = group * params.members + begin - params.source_start;

  var sum = 0;
  var lower = 0u;
  var upper = 0u;
  var nonzero = 0u;
  for (var i = local; i < size; i += WORKGROUP_SIZE) {
    let x = integer_member(base + i);
    let square = bitcast<u32>(x) * bitcast<u32>(x);
    sum += x;
    lower += square & 0xffffu;
    upper += square >> 16u;
    nonzero += select(0u, 1u, x != 0);
  }
  atomicAdd(&totals[0], bitcast<u32>(sum));
  atomicAdd(&totals[1], lower);
  atomicAdd(&totals[2], upper);
  atomicAdd(&totals[3], nonzero);
  workgroupBarrier();

  for (var i = local; i < 4u; i += WORKGROUP_SIZE) {
    results[4u * (block - params.results_start) + i] = atomicLoad(&totals[i]);
  }
}
