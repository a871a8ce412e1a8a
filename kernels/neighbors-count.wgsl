// Neighbours of periodic structures, step 1 of 2: how many edges each row has. A row is one source atom and a part of its targets; rows lie in the order of
// the result, so that exclusive sums of the counts (scan-blocks, scan-add) are where neighbors-fill writes.
// rows has 4 words per row: structure, source (atom of the structure), and which entries [begin, end) of the lists of targets, which begin at word `targets`.
// cells has 32 words per structure: lattice vectors (9 int64), duals (9 float32), half widths (3 float32), its first atom.
// atoms has 9 words per atom: position (3 int64), cells that it was wrapped by (3 int32).
// limits has 4 words per atom: the largest key, and how many of the neighbours with that very key count, the first ones; such limits need one row per atom.
// counts has one value per row.
// Dispatch: one invocation per row of the window [first_row, first_row + window); 2-D beyond 65,535 workgroups.
// import: integers
// import: neighbors

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  window: u32,
  first_row: u32,
  targets: u32,
  // Where this step's faults begin: per structure the number of neighbours in one place with an atom, and the first such atom.
  fault_offset: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<u32>;
@group(0) @binding(1) var<storage, read> cells: array<u32>;
@group(0) @binding(2) var<storage, read> atoms: array<u32>;
@group(0) @binding(3) var<storage, read> limits: array<u32>;
@group(0) @binding(4) var<storage, read_write> counts: array<u32>;
@group(0) @binding(5) var<storage, read_write> faults: array<atomic<u32>>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (at >= params.window) {
    return;
  }
  let row = params.first_row + at;
  let source = cells[rows[4u * row] * CELL_WORDS + 30u] + rows[4u * row + 1u];
  var walk = walk_of(row, vec2u(limits[4u * source], limits[4u * source + 1u]));
  var ties = limits[4u * source + 2u];
  var count = 0u;
  var coincident = 0u;
  while (next_neighbor(&walk, params.targets)) {
    coincident += select(0u, 1u, walk.coincident);
    if (walk.at_limit) {
      if (ties == 0u) {
        continue;
      }
      ties--;
    }
    count++;
  }
  counts[row] = count;
  if (coincident > 0u) {
    let fault = params.fault_offset + 2u * walk.cell;
    atomicAdd(&faults[fault], coincident);
    atomicMin(&faults[fault + 1u], walk.source);
  }
}
