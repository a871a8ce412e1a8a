// Order statistics, step 2 of 3: from the counts of one digit to the digit of the member looked for. Leaves the counts zero behind, for the next digit.
// counts is [groups, 2, 2048]; state is [groups, 2, 3]: the key as far as it is known, the rank among the members that share it, and the next key:
// after the last digit the same key when that is shared by a member of the next rank, 0xffffffff otherwise.
// Dispatch: one workgroup per target (two a group) of the window [first_target, first_target + targets); 2-D beyond 65,535. The bound part of state
// begins at group state_start, that of counts at group counts_start.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  targets: u32,
  first_target: u32,
  state_start: u32,
  counts_start: u32,
  // Lowest bit of the digit: 21, 10, 0.
  shift: u32,
  // Ranks to look for, the same in each group.
  rank0: u32,
  rank1: u32,
}

@group(0) @binding(0) var<storage, read_write> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const SPANS = 64u;
const SPAN = 32u;
var<workgroup> sums: array<u32, SPANS>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = workgroup.y * grid.x + workgroup.x;
  if (at >= params.targets) {
    return;
  }
  let target_index = params.first_target + at;
  let counted = 2048u * (target_index - 2u * params.counts_start);
  for (var i = local; i < SPANS; i += WORKGROUP_SIZE) {
    var sum = 0u;
    for (var k = 0u; k < SPAN; k++) {
      sum += counts[counted + i * SPAN + k];
    }
    sums[i] = sum;
  }
  workgroupBarrier();

  if (local == 0u) {
    let to = 3u * (target_index - 2u * params.state_start);
    var key = 0u;
    var rank = select(params.rank0, params.rank1, (target_index & 1u) == 1u);
    if (params.shift != 21u) {
      key = state[to];
      rank = state[to + 1u];
    }
    var span = 0u;
    while (span < SPANS - 1u && sums[span] <= rank) {
      rank -= sums[span];
      span++;
    }
    var digit = span * SPAN;
    while (digit < span * SPAN + SPAN - 1u && counts[counted + digit] <= rank) {
      rank -= counts[counted + digit];
      digit++;
    }
    key |= digit << params.shift;
    state[to] = key;
    state[to + 1u] = rank;
    state[to + 2u] = select(0xffffffffu, key, params.shift == 0u && rank + 1u < counts[counted + digit]);
  }
  // Within the workgroup the first invocation must have read them all.
  storageBarrier();
  for (var i = local; i < 2048u; i += WORKGROUP_SIZE) {
    counts[counted + i] = 0u;
  }
}
