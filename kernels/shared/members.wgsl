// Elements as normalize sees them. A kernel that uses this names its input `source`; elements lie packed in it as in host memory.

// Code of src/core/dtype.ts: bool 0, int8 1, uint8 2, int16 3, uint16 4, float32 11.
override DTYPE: u32;

// Element i of an integer dtype; a bool counts as 1 when its byte is not 0.
fn integer_member(i: u32) -> i32 {
  if (DTYPE >= 3u) {
    let word = source[i >> 1u];
    let at = (i & 1u) * 16u;
    return select(i32(extractBits(word, at, 16u)), extractBits(bitcast<i32>(word), at, 16u), DTYPE == 3u);
  }
  let word = source[i >> 2u];
  let at = (i & 3u) * 8u;
  let plain = i32(extractBits(word, at, 8u));
  if (DTYPE == 0u) {
    return min(plain, 1);
  }
  return select(plain, extractBits(bitcast<i32>(word), at, 8u), DTYPE == 1u);
}

// Element i as float32: flushed, or converted, which is exact for 16 bits.
fn member(i: u32) -> f32 {
  if (DTYPE == 11u) {
    return load_flushed(source[i]);
  }
  return f32(integer_member(i));
}

// Unsigned keys that order like the values; a flushed value is never -0, so equal values have equal keys.
fn key_of(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return bits ^ select(0x80000000u, 0xffffffffu, (bits >> 31u) != 0u);
}
fn bits_of_key(key: u32) -> u32 {
  return key ^ select(0xffffffffu, 0x80000000u, (key >> 31u) != 0u);
}
