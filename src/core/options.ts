/** Checks of what callers pass in. All of them throw a `TypeError` before any work begins. */

/** Refuses what is no object of options, and names that are not known, and suggests the nearest one that is. A `signal` must be one. */
export function checkOptions(where: string, given: unknown, known: readonly string[]): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new TypeError(`${where}: options must be an object of ${known.join(', ')}, not ${show(given)}`)
  const { signal } = given as { signal?: unknown }
  if (signal !== undefined && known.includes('signal') && !isSignal(signal)) throw new TypeError(`${where}: signal must be an AbortSignal, not ${show(signal)}`)
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue
    const near = nearest(name, known)
    throw new TypeError(near === undefined
      ? `${where}: unknown option "${name}"; known are ${known.join(', ')}`
      : `${where}: misspelled option "${name}" should be "${near}"`)
  }
}

/** Also those of other realms and libraries. */
function isSignal(value: unknown): boolean {
  const { aborted, addEventListener, throwIfAborted } = (value ?? {}) as Partial<AbortSignal>
  return typeof aborted === 'boolean' && typeof addEventListener === 'function' && typeof throwIfAborted === 'function'
}

/** `value` when it is a function, or undefined where that is allowed. */
export function callable(where: string, name: string, value: unknown, optional = false): void {
  if (typeof value !== 'function' && !(optional && value === undefined)) throw new TypeError(`${where}: ${name} must be a function, not ${show(value)}`)
}

/** The known name within a third of the length in edits, or one that differs in case and separators only. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replace(/[-_\s]/g, '')
  let best: string | undefined
  let bestDistance = Infinity
  for (const candidate of known) {
    const distance = editDistance(plain(name), plain(candidate))
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return bestDistance <= Math.max(1, Math.floor(name.length / 3)) ? best : undefined
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment distance). */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const [above, row] = [rows[i - 1]!, [i]]
    for (let j = 1; j <= b.length; j++) {
      let best = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, rows[i - 2]![j - 2]! + 1)
      row.push(best)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}

/** `value` when it is one of `choices`, `fallback` when it is undefined. */
export function choice<T extends string>(where: string, name: string, value: unknown, choices: readonly T[], fallback?: T): T {
  if (value === undefined && fallback !== undefined) return fallback
  if (typeof value === 'string' && (choices as readonly string[]).includes(value)) return value as T
  throw new TypeError(`${where}: ${name} must be one of ${choices.join(', ')}, not ${show(value)}`)
}

export interface NumberRule { integer?: boolean; min?: number; max?: number }

export function number(where: string, name: string, value: unknown, rule: NumberRule = {}, fallback?: number): number {
  if (value === undefined && fallback !== undefined) return fallback
  const { integer = false, min = -Infinity, max = Infinity } = rule
  if (typeof value !== 'number' || !Number.isFinite(value) || (integer && !Number.isSafeInteger(value)) || value < min || value > max) {
    const kind = integer ? 'an integer' : 'a finite number'
    const range = min === -Infinity && max === Infinity ? '' : ` from ${min} to ${max}`
    throw new TypeError(`${where}: ${name} must be ${kind}${range}, not ${show(value)}`)
  }
  return value
}

export function boolean(where: string, name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw new TypeError(`${where}: ${name} must be true or false, not ${show(value)}`)
  return value
}

/** Bytes from a number or a human size: `512MB` (10^6), `2GiB` (2^30), `64k`. */
export function bytes(where: string, name: string, value: unknown, fallback?: number): number {
  if (value === undefined && fallback !== undefined) return fallback
  if (typeof value === 'number') return number(where, name, value, { integer: true, min: 0 })
  const match = typeof value === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?\s*$/i.exec(value) : null
  if (match === null) throw new TypeError(`${where}: ${name} must be a number of bytes or a size such as 512MB or 2GiB, not ${show(value)}`)
  const power = ['', 'k', 'm', 'g', 't', 'p'].indexOf(match[2]!.toLowerCase())
  return Math.round(Number(match[1]) * (match[3] === '' ? 1000 : 1024) ** power)
}

const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * Milliseconds, to the nearest, from a number of them or a duration: `500ms`, `90s`, `30m`, `24h`, `7d`, `1.5h`. Units are lower case, for `M` means months elsewhere;
 * a text without one is refused, for it may have been seconds.
 */
export function duration(where: string, name: string, value: unknown, fallback?: number): number {
  if (value === undefined && fallback !== undefined) return fallback
  const match = typeof value === 'string' ? /^\s*(\d{1,15}(?:\.\d{1,15})?)\s*(ms|s|m|h|d)\s*$/.exec(value) : null
  const ms = typeof value === 'number' ? Math.round(value) : match === null ? NaN : Math.round(Number(match[1]) * MILLISECONDS[match[2]!]!)
  if (!Number.isSafeInteger(ms) || ms < 0 || (value as number) < 0) throw new TypeError(`${where}: ${name} must be milliseconds or a duration such as 500ms, 90s, 30m, 24h or 7d, not ${show(value)}`)
  return ms === 0 ? 0 : ms
}

/** Milliseconds as `duration` has them, or Infinity for `never`. */
export function lifetime(where: string, name: string, value: unknown, fallback?: number): number {
  return value === 'never' ? Infinity : duration(where, name, value, fallback)
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? `[${value.map(show).join(', ')}]` : `a ${value.constructor?.name ?? 'object'}`
  return String(value)
}
