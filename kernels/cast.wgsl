// Casts between dtypes; the rules stand at CastStep in src/ops/program.ts. Everything is done on bit patterns in integers: float units may flush
// subnormals, round float64 twice on its way to half, and have no float64 at all.
// source and result hold `elements` elements, a window of a batch that begins at its element `first`: both bindings begin there.
// Dispatch: one invocation per word of the result where elements are smaller than a word, else per element; 2-D beyond 65,535 workgroups.
// At most 2^31 elements in a dispatch and 2^32 - 1 in a batch. Bytes behind the last element of a result that ends within a word become 0.
// import: elements

// dtype codes: both real or both complex.
override SRC: u32;
override DST: u32;
// What becomes of results (of sources, where the result is an integer) that are not finite: 0 a fault, 1 zero, 2 kept.
override NON_FINITE: u32 = 0;
override WORKGROUP_SIZE: u32 = 256;

// Derived; not to be set. Complex numbers are pairs of float32 or float64, whose codes are two lower.
override PARTS: u32 = 1u + u32(SRC >= 13u);
override FROM: u32 = SRC - 2u * u32(SRC >= 13u);
override TO: u32 = DST - 2u * u32(DST >= 13u);

struct Params {
  elements: u32,
  first: u32,
  // Elements of one item.
  item_elements: u32,
  // Where this step's faults begin: per item the number of non-finite elements, and the first one's index in the item.
  fault_offset: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@group(0) @binding(2) var<storage, read_write> faults: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> params: Params;

const FAULT = 0u;
const ZERO = 1u;

// 64-bit quantities are (low word, high word).

fn shift_left(v: vec2u, n: u32) -> vec2u {
  if (n >= 32u) {
    return vec2u(0u, v.x << (n - 32u));
  }
  // Two shifts for the carry, because a shift by 32 is none.
  return vec2u(v.x << n, (v.y << n) | ((v.x >> 1u) >> (31u - n)));
}

fn shift_right(v: vec2u, n: u32) -> vec2u {
  if (n >= 32u) {
    return vec2u(v.y >> (n - 32u), 0u);
  }
  return vec2u((v.x >> n) | ((v.y << 1u) << (31u - n)), v.y >> n);
}

fn negate(v: vec2u) -> vec2u {
  return vec2u(~v.x + 1u, ~v.y + u32(v.x == 0u));
}

// Where the fields of a float lie in its word, or in the high word of a float64.
struct Format {
  fraction: u32,
  exponent: u32,
  bias: i32,
}

fn format_of(dtype: u32) -> Format {
  if (dtype == FLOAT16) {
    return Format(10u, 5u, 15);
  }
  if (dtype == BFLOAT16) {
    return Format(7u, 8u, 127);
  }
  if (dtype == FLOAT32) {
    return Format(23u, 8u, 127);
  }
  return Format(20u, 11u, 1023);
}

// NaN or infinity; integers never are.
fn is_non_finite(bits: vec2u, dtype: u32) -> bool {
  if (!is_floating(dtype)) {
    return false;
  }
  let format = format_of(dtype);
  let mask = ((1u << format.exponent) - 1u) << format.fraction;
  return (select(bits.x, bits.y, dtype == FLOAT64) & mask) == mask;
}

// A real number, exactly: ±significand · 2^(leading - 63) with the significand's highest bit set, so that |x| is in [2^leading, 2^(leading + 1)).
// 0 and infinity have exponents that every format underflows or overflows. A NaN has its fraction, left-aligned, for significand.
struct Real {
  negative: bool,
  nan: bool,
  leading: i32,
  significand: vec2u,
}
const NOTHING = -0x10000;
const EVERYTHING = 0x10000;

// significand · 2^(leading - 63), its highest bit anywhere.
fn normalized(negative: bool, significand: vec2u, leading: i32) -> Real {
  if ((significand.x | significand.y) == 0u) {
    return Real(negative, false, NOTHING, vec2u());
  }
  let zeros = select(countLeadingZeros(significand.y), 32u + countLeadingZeros(significand.x), significand.y == 0u);
  return Real(negative, false, leading - i32(zeros), shift_left(significand, zeros));
}

fn decode_float(bits: vec2u, dtype: u32) -> Real {
  let format = format_of(dtype);
  let head = select(bits.x, bits.y, dtype == FLOAT64);
  let tail = select(0u, bits.x, dtype == FLOAT64);
  let negative = ((head >> (format.fraction + format.exponent)) & 1u) != 0u;
  let field = extractBits(head, format.fraction, format.exponent);
  // Left-aligned. There is a tail only behind the 20 bits in the head of a float64.
  let fraction = vec2u(tail << 12u, (head << (32u - format.fraction)) | (tail >> 20u));
  if (field == (1u << format.exponent) - 1u) {
    let nan = (fraction.x | fraction.y) != 0u;
    return Real(negative, nan, EVERYTHING, select(vec2u(0u, 0x80000000u), fraction, nan));
  }
  if (field == 0u) {
    return normalized(negative, fraction, -format.bias);
  }
  return Real(negative, false, i32(field) - format.bias, shift_right(fraction, 1u) | vec2u(0u, 0x80000000u));
}

fn decode_integer(bits: vec2u, dtype: u32) -> Real {
  let negative = is_signed_integer(dtype) && (bits.y >> 31u) != 0u;
  let magnitude = select(bits, negate(bits), negative);
  if (bytes_of(dtype) == 8u) {
    return normalized(negative, magnitude, 63);
  }
  return normalized(negative, vec2u(0u, magnitude.x), 31);
}

// x / 2^drop, rounded to nearest even.
fn round_off(x: u32, drop: u32) -> u32 {
  if (drop >= 32u) {
    return u32(drop == 32u && x > 0x80000000u);
  }
  let units = x >> drop;
  // drop is never 0.
  let rest = x << (32u - drop);
  return units + u32(rest > 0x80000000u || (rest == 0x80000000u && (units & 1u) != 0u));
}

fn encode_small_float(x: Real, dtype: u32) -> u32 {
  let format = format_of(dtype);
  let sign = u32(x.negative) << (format.fraction + format.exponent);
  let infinity = ((1u << format.exponent) - 1u) << format.fraction;
  if (x.nan) {
    return sign | infinity | (1u << (format.fraction - 1u)) | (x.significand.y >> (32u - format.fraction));
  }
  if (x.leading > format.bias) {
    return sign | infinity;
  }
  // The low word only decides ties.
  let top = x.significand.y | u32(x.significand.x != 0u);
  let lowest = 1 - format.bias;
  let scale = max(x.leading, lowest);
  let units = round_off(top, 31u - format.fraction + u32(scale - x.leading));
  // The leading bit and the carry of a rounding count the exponent up, past the largest value to infinity.
  return sign | (units + (u32(scale - lowest) << format.fraction));
}

// From anything but float64, so that nothing is too small or too large.
fn encode_float64(x: Real) -> vec2u {
  let sign = u32(x.negative) << 31u;
  if (x.nan) {
    return vec2u(x.significand.y << 20u, sign | 0x7ff80000u | (x.significand.y >> 12u));
  }
  if (x.leading == NOTHING) {
    return vec2u(0u, sign);
  }
  if (x.leading == EVERYTHING) {
    return vec2u(0u, sign | 0x7ff00000u);
  }
  let units = shift_right(x.significand, 11u);
  let rest = x.significand.x << 21u;
  let up = u32(rest > 0x80000000u || (rest == 0x80000000u && (units.x & 1u) != 0u));
  let low = units.x + up;
  let carry = u32(low < up);
  return vec2u(low, sign | ((u32(x.leading + 1022) << 20u) + units.y + carry));
}

// Truncates toward zero and saturates.
fn encode_integer(x: Real, dtype: u32) -> vec2u {
  if (x.nan || x.leading < 0) {
    return vec2u();
  }
  let has_sign = is_signed_integer(dtype);
  if (x.negative && !has_sign) {
    return vec2u();
  }
  if (bytes_of(dtype) == 8u) {
    if (x.leading > select(63, 62, has_sign)) {
      let largest = vec2u(0xffffffffu, select(0xffffffffu, 0x7fffffffu, has_sign));
      return select(largest, vec2u(0u, 0x80000000u), x.negative);
    }
    let whole = shift_right(x.significand, u32(63 - x.leading));
    return select(whole, negate(whole), x.negative);
  }
  let limit = (0xffffffffu >> (32u - 8u * bytes_of(dtype) + u32(has_sign))) + u32(x.negative);
  var whole = limit;
  if (x.leading < 32) {
    whole = min(whole, x.significand.y >> u32(31 - x.leading));
  }
  return vec2u(select(whole, ~whole + 1u, x.negative), 0u);
}

// Element i of the real type: floats as their bits, integers extended by their sign, a bool as 0 or 1.
fn load(i: u32) -> vec2u {
  let bytes = bytes_of(FROM);
  if (bytes == 8u) {
    return vec2u(source[2u * i], source[2u * i + 1u]);
  }
  var bits = source[i / elements_per_word(bytes)];
  if (bytes < 4u) {
    if (is_signed_integer(FROM)) {
      bits = take_signed(bits, i, bytes);
    } else {
      bits = take(bits, i, bytes);
    }
  }
  if (FROM == BOOL) {
    bits = min(bits, 1u);
  }
  return vec2u(bits, select(0u, bitcast<u32>(bitcast<i32>(bits) >> 31u), is_signed_integer(FROM)));
}

fn convert(bits: vec2u) -> vec2u {
  if (FROM == TO) {
    return bits;
  }
  if (TO == BOOL) {
    if (FROM == FLOAT64) {
      return vec2u(u32((bits.x | (bits.y & 0x7fffffffu)) != 0u), 0u);
    }
    // Without the sign, so that -0 is 0.
    let magnitude = select(0xffffffffu, 0xffffffffu >> (33u - 8u * bytes_of(FROM)), is_floating(FROM));
    return vec2u(u32(((bits.x & magnitude) | bits.y) != 0u), 0u);
  }
  if (!is_floating(FROM) && !is_floating(TO)) {
    return bits;
  }
  var x: Real;
  if (is_floating(FROM)) {
    x = decode_float(bits, FROM);
  } else {
    x = decode_integer(bits, FROM);
  }
  if (TO == FLOAT64) {
    return encode_float64(x);
  }
  if (is_floating(TO)) {
    return vec2u(encode_small_float(x, TO), 0u);
  }
  return encode_integer(x, TO);
}

// The judgement on one part of an element.
fn is_bad(before: vec2u, after: vec2u) -> bool {
  if (is_floating(TO)) {
    return is_non_finite(after, TO);
  }
  return is_non_finite(before, FROM);
}

// What is left of an element's results by NON_FINITE: they are kept or cleared.
fn keeps(bad: bool, i: u32) -> bool {
  if (NON_FINITE == FAULT && bad) {
    let element = params.first + i;
    let item = element / params.item_elements;
    let fault = params.fault_offset + 2u * item;
    atomicAdd(&faults[fault], 1u);
    atomicMin(&faults[fault + 1u], element - item * params.item_elements);
  }
  return !(NON_FINITE == ZERO && bad);
}

fn store(i: u32, bits: vec2u) {
  if (bytes_of(TO) == 8u) {
    result[2u * i] = bits.x;
    result[2u * i + 1u] = bits.y;
  } else {
    result[i] = bits.x;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) local: u32) {
  let unit = (workgroup.y * grid.x + workgroup.x) * WORKGROUP_SIZE + local;
  let bytes = bytes_of(TO);
  let begin = unit * elements_per_word(bytes);
  if (begin >= params.elements) {
    return;
  }
  if (bytes < 4u) {
    let end = min(begin + elements_per_word(bytes), params.elements);
    var word = 0u;
    for (var i = begin; i < end; i++) {
      let before = load(i);
      let after = convert(before);
      if (keeps(is_bad(before, after), i)) {
        word = put(word, i, bytes, after.x);
      }
    }
    result[unit] = word;
    return;
  }
  let before = load(PARTS * unit);
  let after = convert(before);
  var bad = is_bad(before, after);
  var other = vec2u();
  if (PARTS == 2u) {
    let before_other = load(2u * unit + 1u);
    other = convert(before_other);
    bad = bad || is_bad(before_other, other);
  }
  let kept = keeps(bad, unit);
  store(PARTS * unit, select(vec2u(), after, kept));
  if (PARTS == 2u) {
    store(2u * unit + 1u, select(vec2u(), other, kept));
  }
}
