// Smallest and largest member per block of 4,096. source is [groups, members]; blocks restart at each group. results is f32 [blocks, 2]: min, max.
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
// Of complemented keys, so that the zero it starts from is above every key.
var<workgroup> lowest: atomic<u32>;
var<workgroup> highest: atomic<u32>;

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

  var low = 0xffffffffu;
  var high = 0u;
  for (var i = local; i < size; i += WORKGROUP_SIZE) {
    let key = key_of(member(base + i));
    low = min(low, key);
    high = max(high, key);
  }
  atomicMax(&lowest, ~low);
  atomicMax(&highest, high);
  workgroupBarrier();

  if (local == 0u) {
    let to = 2u * (block - params.results_start);
    results[to] = bits_of_key(~atomicLoad(&lowest));
    results[to + 1u] = bits_of_key(atomicLoad(&highest));
  }
}
