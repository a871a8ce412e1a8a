// 64-bit integers as two words.

// An int64 is (lower, upper).
fn add64(a: vec2u, b: vec2u) -> vec2u {
  let lower = a.x + b.x;
  return vec2u(lower, a.y + b.y + select(0u, 1u, lower < a.x));
}
fn negated64(a: vec2u) -> vec2u {
  return add64(~a, vec2u(1u, 0u));
}
fn magnitude64(a: vec2u) -> vec2u {
  return select(a, negated64(a), (a.y >> 31u) != 0u);
}
fn wide_product(a: u32, b: u32) -> vec2u {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2u((other << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u));
}
// n · a, modulo 2^64.
fn times64(a: vec2u, n: i32) -> vec2u {
  let bits = bitcast<u32>(n);
  let product = wide_product(a.x, bits);
  return vec2u(product.x, product.y + a.y * bits - select(0u, a.x, n < 0));
}
