// Order statistics, step 1 of 3: counts one digit of the members' keys. Two members per group are looked for, each known by the digits above this one.
// A key is three digits: bits 31 to 21, 20 to 10, 9 to 0. Per digit run this and normalize-select; after the last, normalize-next-key.
// source is [groups, members]; state is [groups, 2, 3], see normalize-select; counts is [groups, 2, 2048] and zero before.
// Dispatch: one workgroup per piece of 16,384 members in the window [first_piece, first_piece + pieces); 2-D beyond 65,535. Pieces restart at each group
// and are numbered through the batch, pieces_per_group to a group. The bound part of source begins at batch element source_start, that of state at
// group state_start, that of counts at group counts_start.
// import: exact
// import: members

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  pieces: u32,
  first_piece: u32,
  pieces_per_group: u32,
  members: u32,
  source_start: u32,
  state_start: u32,
  counts_start: u32,
  // Lowest bit of the digit: 21, 10, 0.
  shift: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> params: Params;

const PIECE = 16384u;
// Two counts in a word, for the one target in the lower half: no count exceeds the 16,384 of a piece.
var<workgroup> both: array<atomic<u32>, 2048>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = workgroup.y * grid.x + workgroup.x;
  if (at >= params.pieces) {
    return;
  }
  let piece = params.first_piece + at;
  let group = piece / params.pieces_per_group;
  let begin = (piece - group * params.pieces_per_group) * PIECE;
  let size = min(params.members - begin, PIECE);
  let base = group * params.members + begin - params.source_start;

  let digits = select(2047u, 1023u, params.shift == 0u);
  // What is settled so far; nothing before the first digit, whatever state holds.
  let mask = select(~((digits << params.shift) | ((1u << params.shift) - 1u)), 0u, params.shift == 21u);
  let targets = 6u * (group - params.state_start);
  let prefix0 = state[targets] & mask;
  let prefix1 = state[targets + 3u] & mask;
  for (var i = local; i < size; i += WORKGROUP_SIZE) {
    let key = key_of(member(base + i));
    let found = select(0u, 1u, (key & mask) == prefix0) | select(0u, 0x10000u, (key & mask) == prefix1);
    if (found != 0u) {
      atomicAdd(&both[(key >> params.shift) & digits], found);
    }
  }
  workgroupBarrier();

  let to = 4096u * (group - params.counts_start);
  for (var i = local; i <= digits; i += WORKGROUP_SIZE) {
    let found = atomicLoad(&both[i]);
    if ((found & 0xffffu) != 0u) {
      atomicAdd(&counts[to + i], found & 0xffffu);
    }
    if ((found >> 16u) != 0u) {
      atomicAdd(&counts[to + 2048u + i], found >> 16u);
    }
  }
}
