/** Aligned columns; numbers (by `right`) to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, k) => Math.max(...rows.map((row) => (row[k] ?? '').length)))
  return rows.map((row) => row.map((cell, k) => right.includes(k) ? cell.padStart(widths[k]!) : cell.padEnd(widths[k]!)).join('  ').trimEnd())
}

/** `1.5 GiB`: powers of 1,024, three digits. */
export function humanBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let power = 0
  let value = bytes
  while (value >= 1024 && power < units.length - 1) {
    value /= 1024
    power++
  }
  return `${power === 0 ? value : value.toPrecision(3)} ${units[power]}`
}

export function humanSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?'
  if (seconds < 1) return `${(seconds * 1000).toFixed(0)} ms`
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export function shapeText(shape: readonly (number | null)[]): string {
  return `[${shape.map((extent) => extent ?? '?').join(', ')}]`
}
