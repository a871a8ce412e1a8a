export { humanAgo, humanBytes, humanCount, humanOf, humanSeconds } from '../core/human.js'

/** Aligned columns; numbers (by `right`) to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, k) => Math.max(...rows.map((row) => (row[k] ?? '').length)))
  return rows.map((row) => row.map((cell, k) => right.includes(k) ? cell.padStart(widths[k]!) : cell.padEnd(widths[k]!)).join('  ').trimEnd())
}

export function shapeText(shape: readonly (number | null)[]): string {
  return `[${shape.map((extent) => extent ?? '?').join(', ')}]`
}
