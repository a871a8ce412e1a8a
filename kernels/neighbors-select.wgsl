// The k nearest neighbours, or the nearest of too many: finds each atom's limit for neighbors-count and neighbors-fill. Inputs as in neighbors-count, one row per atom, limits
// as they are for everything within a sphere. Per atom of the window it leaves in limits the key of neighbour number `wanted` (or what it was, where there are fewer
// in the sphere), how many of the neighbours with that key count, and how many there are in the sphere: fewer than wanted ask for a larger one.
// best is scratch, [window, wanted] keys of 2 words.
// Dispatch: one invocation per row of the window [first_row, first_row + window); 2-D beyond 65,535 workgroups.
// import: integers
// import: neighbors

// Whether all neighbours as near as the last one are kept; otherwise the first ones in the order of (target, image).
override KEEP_TIES: bool = false;
override WORKGROUP_SIZE: u32 = 256;

struct Params {
  window: u32,
  first_row: u32,
  targets: u32,
  wanted: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<u32>;
@group(0) @binding(1) var<storage, read> cells: array<u32>;
@group(0) @binding(2) var<storage, read> atoms: array<u32>;
@group(0) @binding(3) var<storage, read_write> limits: array<u32>;
@group(0) @binding(4) var<storage, read_write> best: array<u32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (at >= params.window) {
    return;
  }
  let row = params.first_row + at;
  let source = cells[rows[4u * row] * CELL_WORDS + 30u] + rows[4u * row + 1u];
  var walk = walk_of(row, vec2u(limits[4u * source], limits[4u * source + 1u]));
  let base = 2u * at * params.wanted;
  let last = base + 2u * (params.wanted - 1u);
  var found = 0u;
  while (next_neighbor(&walk, params.targets)) {
    if (walk.is_self) {
      continue;
    }
    let key = key_of(square_of(walk.point));
    let full = found >= params.wanted;
    found++;
    if (full && !is_less64(key, vec2u(best[last], best[last + 1u]))) {
      continue;
    }
    // The list rises; what is larger moves up by one, and the largest falls out of a full list.
    var place = select(base + 2u * (found - 1u), last, full);
    while (place > base && is_less64(key, vec2u(best[place - 2u], best[place - 1u]))) {
      best[place] = best[place - 2u];
      best[place + 1u] = best[place - 1u];
      place -= 2u;
    }
    best[place] = key.x;
    best[place + 1u] = key.y;
  }
  limits[4u * source + 3u] = found;
  if (found < params.wanted) {
    return;
  }
  let reach = vec2u(best[last], best[last + 1u]);
  var ties = 0u;
  for (var k = 0u; k < params.wanted; k++) {
    ties += select(0u, 1u, all(vec2u(best[base + 2u * k], best[base + 2u * k + 1u]) == reach));
  }
  limits[4u * source] = reach.x;
  limits[4u * source + 1u] = reach.y;
  limits[4u * source + 2u] = select(ties, 0xffffffffu, KEEP_TIES);
}
