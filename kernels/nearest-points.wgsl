// Nearest points of a plane: for each query a list of points that its `wanted` nearest ones are among, whatever rounding did to the coordinates. The host finds them there, in float64.
// Coordinates are integers of 15 bits, x << 16 | y. points is sorted by square cells of 2^shift units, row by row; starts is [rows * columns + 1], where each cell begins. A distance between integers is
// off by less than 1.4143 units (src/devices/webgpu/point-cells.ts), so whatever is among the nearest is less than 2.83 units farther than what `wanted` of the integers are within.
// lists is [queries, 1 + room]: how many there are, then their places in points, in any order; where there are more than `room` the others are left out. It is 0xffffffff where more than `reach` points
// would have to be looked at.
// Dispatch: one workgroup per query; 2-D beyond 65,535.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  queries: u32,
  wanted: u32,
  room: u32,
  reach: u32,
  shift: u32,
  columns: u32,
  rows: u32,
  // Rings of cells to begin with.
  ring: u32,
}

@group(0) @binding(0) var<storage, read> points: array<u32>;
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> queries: array<u32>;
@group(0) @binding(3) var<storage, read_write> lists: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

// Invocations that go through a row of cells together: a row of a block has a few dozen points.
const LANES = 16u;
// Squared distances have up to 31 bits; so many are found at a time.
const DIGIT = 5u;
const BINS = 32u;
const GIVEN_UP = 0xffffffffu;

var<workgroup> bins: array<atomic<u32>, BINS>;
var<workgroup> counter: atomic<u32>;
// What one invocation found and all go by.
var<workgroup> agreed: vec2u;

// Cells from low to high, both included: columns in x, rows in y.
struct Block {
  low: vec2u,
  high: vec2u,
}

fn block_around(cell: vec2u, ring: u32) -> Block {
  return Block(cell - min(cell, vec2u(ring)), min(cell + vec2u(ring), vec2u(params.columns, params.rows) - vec2u(1u)));
}

// Where the points of a row of a block begin and end: they lie together.
fn row_of(block: Block, row: u32) -> vec2u {
  let first = row * params.columns;
  return vec2u(starts[first + block.low.x], starts[first + block.high.x + 1u]);
}

fn count_of(block: Block, local: u32) -> u32 {
  if (local == 0u) {
    atomicStore(&counter, 0u);
  }
  workgroupBarrier();
  var sum = 0u;
  for (var row = block.low.y + local; row <= block.high.y; row += WORKGROUP_SIZE) {
    let ends = row_of(block, row);
    sum += ends.y - ends.x;
  }
  if (sum > 0u) {
    atomicAdd(&counter, sum);
  }
  workgroupBarrier();
  if (local == 0u) {
    agreed.x = atomicLoad(&counter);
  }
  return workgroupUniformLoad(&agreed).x;
}

// The smallest of some rings, from 0 to `most`, within which there are enough points.
fn ring_of(cell: vec2u, most: u32, local: u32) -> u32 {
  var ring = min(params.ring, most);
  if (count_of(block_around(cell, ring), local) < params.wanted) {
    while (ring < most) {
      ring = min(ring + ring / 2u + 1u, most);
      if (count_of(block_around(cell, ring), local) >= params.wanted) {
        break;
      }
    }
    return ring;
  }
  while (ring > 0u) {
    if (count_of(block_around(cell, ring / 2u), local) < params.wanted) {
      break;
    }
    ring = ring / 2u;
  }
  return ring;
}

fn square_to(at: u32, query: vec2u) -> u32 {
  let point = vec2u(points[at] >> 16u, points[at] & 0xffffu);
  let apart = max(point, query) - min(point, query);
  return apart.x * apart.x + apart.y * apart.y;
}

fn root_of(square: u32) -> u32 {
  var root = 0u;
  for (var bit = 0x8000u; bit > 0u; bit /= 2u) {
    let next = root + bit;
    root = select(root, next, next * next <= square);
  }
  return root;
}

// The squared distance that `wanted` points of the block are within, digit by digit from the `first` one.
fn select_in(block: Block, query: vec2u, first: u32, local: u32) -> u32 {
  var found = 0u;
  var rank = params.wanted - 1u;
  for (var digit = 0u; digit <= first; digit++) {
    let shift = (first - digit) * DIGIT;
    for (var bin = local; bin < BINS; bin += WORKGROUP_SIZE) {
      atomicStore(&bins[bin], 0u);
    }
    workgroupBarrier();
    for (var row = block.low.y + local / LANES; row <= block.high.y; row += WORKGROUP_SIZE / LANES) {
      let ends = row_of(block, row);
      for (var at = ends.x + local % LANES; at < ends.y; at += LANES) {
        // Small where all digits before this one are those found.
        let bin = (square_to(at, query) ^ found) >> shift;
        if (bin < BINS) {
          atomicAdd(&bins[bin], 1u);
        }
      }
    }
    workgroupBarrier();
    if (local == 0u) {
      var before = 0u;
      var bin = 0u;
      for (; bin < BINS - 1u; bin++) {
        let here = atomicLoad(&bins[bin]);
        if (before + here > rank) {
          break;
        }
        before += here;
      }
      agreed = vec2u(bin, before);
    }
    let settled = workgroupUniformLoad(&agreed);
    found |= settled.x << shift;
    rank -= settled.y;
  }
  return found;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = workgroup.y * grid.x + workgroup.x;
  if (at >= params.queries) {
    return;
  }
  let list = at * (params.room + 1u);
  let query = vec2u(queries[at] >> 16u, queries[at] & 0xffffu);
  let cell = query >> vec2u(params.shift);
  let ring = ring_of(cell, max(params.columns, params.rows), local);
  // Enough points are closer than √2 (ring + 1) cells. So far, and 4 units farther, this block goes in each direction.
  let wide = (3u * (ring + 1u) + 1u) / 2u + ((4u + (1u << params.shift) - 1u) >> params.shift);
  let block = block_around(cell, wide);
  if (count_of(block, local) > params.reach) {
    if (local == 0u) {
      lists[list] = GIVEN_UP;
    }
    return;
  }
  // Along an axis nothing of the block is farther than this.
  let far = min((wide + 1u) << params.shift, 0x7fffu);
  let square = select_in(block, query, firstLeadingBit(2u * far * far) / DIGIT, local);
  // One for what the root has after the point, and three for the rounding of coordinates.
  let limit = root_of(square) + 4u;
  if (local == 0u) {
    atomicStore(&counter, 0u);
  }
  workgroupBarrier();
  for (var row = block.low.y + local / LANES; row <= block.high.y; row += WORKGROUP_SIZE / LANES) {
    let ends = row_of(block, row);
    for (var point = ends.x + local % LANES; point < ends.y; point += LANES) {
      if (square_to(point, query) <= limit * limit) {
        let place = atomicAdd(&counter, 1u);
        if (place < params.room) {
          lists[list + 1u + place] = point;
        }
      }
    }
  }
  workgroupBarrier();
  if (local == 0u) {
    lists[list] = atomicLoad(&counter);
  }
}
