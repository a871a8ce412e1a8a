// The box of what is above a threshold, second of two: of the distances from the end that foreground-box leaves, the first positions. boxes is i32 [items, 2, 3]; one without anything stays 0.
// Dispatch: one invocation per box; 2-D beyond 65,535 workgroups.

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  extent_x: u32,
  extent_y: u32,
  extent_z: u32,
  items: u32,
}

@group(0) @binding(0) var<storage, read_write> boxes: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let item = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (item >= params.items || boxes[6u * item + 3u] == 0u) {
    return;
  }
  boxes[6u * item] = params.extent_x - boxes[6u * item];
  boxes[6u * item + 1u] = params.extent_y - boxes[6u * item + 1u];
  boxes[6u * item + 2u] = params.extent_z - boxes[6u * item + 2u];
}
