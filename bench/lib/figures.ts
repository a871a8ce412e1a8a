import type { Spread } from './measure.js'

/** Three digits that count. */
export function figure(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en')
  return Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : Math.abs(value) >= 0.1 ? value.toFixed(2) : value.toPrecision(2)
}

/** `21.2 GB/s`, `67,701/s`. */
export function withUnit(value: number, unit: string): string {
  return `${figure(value)}${unit.startsWith('1/') ? unit.slice(1) : ` ${unit}`}`
}

/** `3.66×`. What is less than 1 never reads as 1. */
export function times(ratio: number): string {
  return `${figure(ratio < 1 && ratio > 0.1 ? Math.floor(ratio * 100) / 100 : ratio)}×`
}

/** `(20.1–21.9)`, the tenth to the ninetieth percentile; nothing for what was measured once. */
export function range({ p10, p90, samples }: Spread): string {
  return samples.length === 1 ? '' : `(${figure(p10)}–${figure(p90)})`
}

export function withRange(spread: Spread): string {
  return `${figure(spread.median)} ${range(spread)}`.trimEnd()
}
