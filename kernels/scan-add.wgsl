// Exclusive prefix sums of u32, modulo 2^32, step 2 of 2: adds to each value, summed within its block of 2,048 by scan-blocks, the scanned total of
// the blocks before it.
// values holds `elements` values; totals has one value per block.
// Dispatch: one invocation per value; 2-D beyond 65,535 workgroups.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  elements: u32,
}

@group(0) @binding(0) var<storage, read> totals: array<u32>;
@group(0) @binding(1) var<storage, read_write> values: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

// As in scan-blocks.
const BLOCK = 2048u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (i < params.elements) {
    values[i] += totals[i / BLOCK];
  }
}
