// The box along three axes of each item's elements above a threshold, first of two: foreground-starts makes positions of what this leaves. An element is above when its key lies between two keys, both included
// (src/devices/keys.ts). boxes is u32 [items, 2, 3] and zero before: the largest distances from the end of the axis to a position, and the largest positions, plus one.
// Dispatch: one workgroup per block of 4,096 elements in the window [first_block, first_block + blocks); 2-D beyond 65,535. Blocks restart at each item
// and are numbered through the batch, blocks_per_item to an item. The bound part of source begins at batch element source_start.
// import: elements

// Code of src/core/dtype.ts, up to float64.
override DTYPE: u32;
override WORKGROUP_SIZE: u32 = 256;

struct Params {
  // The first key and the last, the lower word before the upper.
  keys: vec4u,
  stride_x: u32,
  stride_y: u32,
  stride_z: u32,
  extent_x: u32,
  extent_y: u32,
  extent_z: u32,
  blocks: u32,
  first_block: u32,
  blocks_per_item: u32,
  // Of one item.
  elements: u32,
  source_start: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> boxes: array<atomic<u32>>;
@group(0) @binding(2) var<uniform> params: Params;

const BLOCK = 4096u;
var<workgroup> most: array<atomic<u32>, 6>;

// Unsigned, of two words, and ordered like the values.
fn key_of(i: u32) -> vec2u {
  let bytes = bytes_of(DTYPE);
  let is_wide = bytes == 8u;
  var bits = vec2u(0u, 0u);
  if (is_wide) {
    bits = vec2u(source[2u * i], source[2u * i + 1u]);
  } else {
    bits = vec2u(take(source[i / elements_per_word(bytes)], i, bytes), 0u);
  }
  if (!is_floating(DTYPE) && !is_signed_integer(DTYPE)) {
    return bits;
  }
  // Where the sign is in its word.
  let place = (8u * bytes - 1u) & 31u;
  let sign = select(vec2u(1u << place, 0u), vec2u(0u, 1u << place), is_wide);
  let all = vec2u(0xffffffffu >> (31u - place), select(0u, 0xffffffffu, is_wide));
  let is_negative = any((bits & sign) != vec2u(0u, 0u));
  return bits ^ select(sign, all, is_floating(DTYPE) && is_negative);
}

fn is_at_most(a: vec2u, b: vec2u) -> bool {
  return a.y < b.y || (a.y == b.y && a.x <= b.x);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = workgroup.y * grid.x + workgroup.x;
  if (at >= params.blocks) {
    return;
  }
  let block = params.first_block + at;
  let item = block / params.blocks_per_item;
  let begin = (block - item * params.blocks_per_item) * BLOCK;
  let size = min(params.elements - begin, BLOCK);
  let base = item * params.elements + begin - params.source_start;

  let extents = vec3u(params.extent_x, params.extent_y, params.extent_z);
  let strides = vec3u(params.stride_x, params.stride_y, params.stride_z);
  var from_end = vec3u(0u, 0u, 0u);
  var stop = vec3u(0u, 0u, 0u);
  for (var i = local; i < size; i += WORKGROUP_SIZE) {
    let key = key_of(base + i);
    if (is_at_most(params.keys.xy, key) && is_at_most(key, params.keys.zw)) {
      let steps = vec3u(begin + i) / strides;
      let position = steps - steps / extents * extents;
      from_end = max(from_end, extents - position);
      stop = max(stop, position + vec3u(1u));
    }
  }
  if (stop.x != 0u) {
    atomicMax(&most[0], from_end.x);
    atomicMax(&most[1], from_end.y);
    atomicMax(&most[2], from_end.z);
    atomicMax(&most[3], stop.x);
    atomicMax(&most[4], stop.y);
    atomicMax(&most[5], stop.z);
  }
  workgroupBarrier();

  for (var i = local; i < 6u; i += WORKGROUP_SIZE) {
    let found = atomicLoad(&most[i]);
    if (found != 0u) {
      atomicMax(&boxes[6u * item + i], found);
    }
  }
}
