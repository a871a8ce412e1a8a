// Guarded float32: what every kernel that computes begins with. Results of + - * pass through `guard`, which no compiler can see through.

struct Exact {
  // 0, always; the compiler must not know.
  zero: u32,
}
@group(1) @binding(0) var<uniform> exact: Exact;

// x, but +0 where |x| <= 2^-126: subnormals, and the edge where devices differ on tininess. The exclusive or with a zero that the compiler does not
// know keeps operations on both sides apart: nothing is fused or reassociated across it.
fn guard(x: f32) -> f32 {
  let bits = bitcast<u32>(x) ^ exact.zero;
  return bitcast<f32>(select(bits, 0u, (bits & 0x7fffffffu) <= 0x00800000u));
}

// Inputs are flushed the same way when they are loaded: `bits` of a float32.
fn load_flushed(bits: u32) -> f32 {
  return bitcast<f32>(select(bits, 0u, (bits & 0x7fffffffu) <= 0x00800000u));
}

fn not_finite(bits: u32) -> bool {
  return (bits & 0x7f800000u) == 0x7f800000u;
}
