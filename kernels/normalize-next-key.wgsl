// Order statistics, step 3 of 3: the smallest key above each one found, where the next rank does not share it. The last member of a group has none
// and keeps 0xffffffff. source is [groups, members]; state is [groups, 2, 3], see normalize-select.
// Dispatch: one workgroup per piece of 16,384 members in the window [first_piece, first_piece + pieces); 2-D beyond 65,535. Pieces restart at each group
// and are numbered through the batch, pieces_per_group to a group. The bound part of source begins at batch element source_start, that of state at
// group state_start.
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
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> state: array<atomic<u32>>;
@group(0) @binding(2) var<uniform> params: Params;

const PIECE = 16384u;

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

  let targets = 6u * (group - params.state_start);
  let above0 = atomicLoad(&state[targets]);
  let above1 = atomicLoad(&state[targets + 3u]);
  var next0 = 0xffffffffu;
  var next1 = 0xffffffffu;
  for (var i = local; i < size; i += WORKGROUP_SIZE) {
    let key = key_of(member(base + i));
    next0 = min(next0, select(0xffffffffu, key, key > above0));
    next1 = min(next1, select(0xffffffffu, key, key > above1));
  }
  // A next key that equals the key stays: it is smaller than any above it.
  atomicMin(&state[targets + 2u], next0);
  atomicMin(&state[targets + 5u], next1);
}
