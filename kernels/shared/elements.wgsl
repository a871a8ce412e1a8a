// Elements as they lie in host memory: little endian, packed, those of 1 and 2 bytes several to a word.

// Codes of src/core/dtype.ts.
const BOOL = 0u;
const INT8 = 1u;
const UINT8 = 2u;
const INT16 = 3u;
const UINT16 = 4u;
const INT32 = 5u;
const UINT32 = 6u;
const INT64 = 7u;
const UINT64 = 8u;
const FLOAT16 = 9u;
const BFLOAT16 = 10u;
const FLOAT32 = 11u;
const FLOAT64 = 12u;
const COMPLEX64 = 13u;
const COMPLEX128 = 14u;

fn bytes_of(dtype: u32) -> u32 {
  if (dtype <= UINT8) {
    return 1u;
  }
  if (dtype <= UINT16 || dtype == FLOAT16 || dtype == BFLOAT16) {
    return 2u;
  }
  if (dtype <= UINT32 || dtype == FLOAT32) {
    return 4u;
  }
  return select(8u, 16u, dtype == COMPLEX128);
}

fn is_floating(dtype: u32) -> bool {
  return dtype >= FLOAT16;
}
fn is_signed_integer(dtype: u32) -> bool {
  return dtype == INT8 || dtype == INT16 || dtype == INT32 || dtype == INT64;
}

// How many elements share a word; elements of whole words have their words to themselves.
fn elements_per_word(bytes: u32) -> u32 {
  return select(1u, 4u / bytes, bytes < 4u);
}

// Element i of 1 or 2 bytes in the word that holds it, number i / elements_per_word(bytes); the bits above it are 0, or its sign.
fn take(word: u32, i: u32, bytes: u32) -> u32 {
  return extractBits(word, (i % elements_per_word(bytes)) * bytes * 8u, bytes * 8u);
}
fn take_signed(word: u32, i: u32, bytes: u32) -> u32 {
  return bitcast<u32>(extractBits(bitcast<i32>(word), (i % elements_per_word(bytes)) * bytes * 8u, bytes * 8u));
}
// The word with element i replaced; bits of the value above the element are ignored.
fn put(word: u32, i: u32, bytes: u32, value: u32) -> u32 {
  return insertBits(word, value, (i % elements_per_word(bytes)) * bytes * 8u, bytes * 8u);
}
