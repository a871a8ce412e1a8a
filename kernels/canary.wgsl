// Asks a device for the arithmetic that every kernel relies on. a, b, c are f32 [vectors]; result is [vectors, 12]: what the host computes with the
// same guard and one rounding per operation (src/devices/webgpu/canary.ts).
// Dispatch: one invocation per vector.
// import: exact

override WORKGROUP_SIZE: u32 = 256;

struct Params {
  vectors: u32,
}

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read> c: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  if (i >= params.vectors) {
    return;
  }
  let x = load_flushed(a[i]);
  let y = load_flushed(b[i]);
  let z = load_flushed(c[i]);
  let to = 12u * i;
  result[to] = bitcast<u32>(guard(x + y));
  result[to + 1u] = bitcast<u32>(guard(x - y));
  result[to + 2u] = bitcast<u32>(guard(x * y));
  // What compilers like to simplify: x + y - x, x · (y + z), x - x.
  result[to + 3u] = bitcast<u32>(guard(guard(x + y) - x));
  result[to + 4u] = bitcast<u32>(guard(x * guard(y + z)));
  result[to + 5u] = bitcast<u32>(guard(guard(x * y) - guard(x * y)));
  // What they like to fuse.
  result[to + 6u] = bitcast<u32>(guard(z + guard(x * y)));
  result[to + 7u] = bitcast<u32>(guard(guard(x * y) - guard(y * z)));
  // Sums in a given order.
  result[to + 8u] = bitcast<u32>(guard(guard(x + y) + z));
  result[to + 9u] = bitcast<u32>(guard(x + guard(y + z)));
  result[to + 10u] = bitcast<u32>(select(x, y, x < y));
  result[to + 11u] = select(0u, 1u, x < y) | select(0u, 2u, x > y) | select(0u, 4u, x == y);
}
