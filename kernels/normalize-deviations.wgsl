// Second pass of float32 moments: per block of 4,096 members the sums of d = guard(guard(x - high) - low) and of guard(d * d), by halving trees.
// source is [groups, members]; blocks restart at each group, the last one of a group is filled up with d = +0. centres is f32 [groups, 2]: high, low.
// results is f32 [blocks, 2].
// Dispatch: one workgroup per block of the window [first_block, first_block + blocks); 2-D beyond 65,535. Blocks are numbered through the batch,
// blocks_per_group to a group. The bound part of source begins at batch element source_start, that of centres at group groups_start, that of results at
// block results_start.
// import: exact

// Members that are zero have d = +0.
override NONZERO: bool = false;
// A power of two up to 512. The trees do not depend on it.
override WORKGROUP_SIZE: u32 = 256;

struct Params {
  blocks: u32,
  first_block: u32,
  blocks_per_group: u32,
  members: u32,
  source_start: u32,
  results_start: u32,
  groups_start: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read> centres: array<u32>;
@group(0) @binding(2) var<storage, read_write> results: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

const BLOCK = 4096u;
var<workgroup> sums: array<f32, 512>;
var<workgroup> squares: array<f32, 512>;

fn square(x: f32) -> f32 {
  return guard(x * x);
}

// Three levels of a tree.
fn sum8(a: array<f32, 8>) -> f32 {
  let even = guard(guard(a[0] + a[4]) + guard(a[2] + a[6]));
  let odd = guard(guard(a[1] + a[5]) + guard(a[3] + a[7]));
  return guard(even + odd);
}

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
  let centre = 2u * (group - params.groups_start);
  let high = load_flushed(centres[centre]);
  let low = load_flushed(centres[centre + 1u]);

  for (var i = local; i < 512u; i += WORKGROUP_SIZE) {
    var d = array<f32, 8>();
    var dd = array<f32, 8>();
    for (var k = 0u; k < 8u; k++) {
      let member = i + 512u * k;
      if (member < size) {
        let x = load_flushed(source[base + member]);
        d[k] = select(guard(guard(x - high) - low), 0.0, NONZERO && x == 0.0);
        dd[k] = square(d[k]);
      }
    }
    sums[i] = sum8(d);
    squares[i] = sum8(dd);
  }
  for (var half = 256u; half >= 1u; half /= 2u) {
    workgroupBarrier();
    for (var i = local; i < half; i += WORKGROUP_SIZE) {
      sums[i] = guard(sums[i] + sums[i + half]);
      squares[i] = guard(squares[i] + squares[i + half]);
    }
  }

  if (local == 0u) {
    let to = 2u * (block - params.results_start);
    results[to] = bitcast<u32>(sums[0]);
    results[to + 1u] = bitcast<u32>(squares[0]);
  }
}
