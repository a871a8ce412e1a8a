import { show } from './options.js'

/** A seed from what the caller gave: an integer from 0 to 2^64 - 1, as a number as far as these are exact, a bigint, or decimal digits. Throws TypeError. */
export function seedOf(where: string, value: unknown): bigint {
  const big = typeof value === 'bigint' ? value : typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : typeof value === 'string' && /^\d+$/.test(value) ? BigInt(value) : undefined
  if (big === undefined || big < 0n || big >= 2n ** 64n) throw new TypeError(`${where}: seed must be an integer from 0 to 2^64 - 1, not ${show(value)}`)
  return big
}

/** A seed as plain data. */
export function seedData(seed: bigint): number | string {
  return seed <= Number.MAX_SAFE_INTEGER ? Number(seed) : String(seed)
}
