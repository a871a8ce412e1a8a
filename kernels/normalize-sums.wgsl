// First pass of float32 moments: per block of 4,096 members the sum, by a halving tree, and the number of members that are not zero.
// source is [groups, members]; blocks restart at each group, the last one of a group is filled up with +0. results is [blocks, 2]: sum (f32), count.
// Dispatch: one workgroup per block of the window [first_block, first_block + blocks); 2-D beyond 65,535. Blocks are numbered through the batch,
// blocks_per_group to a group. The bound part of source begins at batch element source_start, that of results at block results_start.
// import: exact

// A power of two up to 512. The tree does not depend on it.
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
var<workgroup> sums: array<f32, 512>;
var<workgroup> nonzero: atomic<u32>;

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

  // Three levels of the tree while loading: 4,096 values to 512 sums.
  var count = 0u;
  for (var i = local; i < 512u; i += WORKGROUP_SIZE) {
    var a = array<f32, 8>();
    for (var k = 0u; k < 8u; k++) {
      let member = i + 512u * k;
      if (member < size) {
        a[k] = load_flushed(source[base + member]);
        count += select(0u, 1u, a[k] != 0.0);
      }
    }
    let even = guard(guard(a[0] + a[4]) + guard(a[2] + a[6]));
    let odd = guard(guard(a[1] + a[5]) + guard(a[3] + a[7]));
    sums[i] = guard(even + odd);
  }
  atomicAdd(&nonzero, count);
  for (var half = 256u; half >= 1u; half /= 2u) {
    workgroupBarrier();
    for (var i = local; i < half; i += WORKGROUP_SIZE) {
      sums[i] = guard(sums[i] + sums[i + half]);
    }
  }

  if (local == 0u) {
    let to = 2u * (block - params.results_start);
    results[to] = bitcast<u32>(sums[0]);
    results[to + 1u] = atomicLoad(&nonzero);
  }
}
