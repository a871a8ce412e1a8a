/** `1.5 GiB`: powers of 1,024, three digits. */
export function humanBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let power = 0
  let value = bytes
  // What would be rounded to four digits is one of the next unit.
  while (value >= (power === 0 ? 1024 : 999.5) && power < units.length - 1) {
    value /= 1024
    power++
  }
  return `${power === 0 ? value : value.toPrecision(3)} ${units[power]}`
}

export function humanSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?'
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(0)} ms`
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  const minutes = Math.floor(whole / 60)
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** `1,234,567` */
export function humanCount(count: number): string {
  return count.toLocaleString('en-US')
}

/** `5 min ago`: in the largest unit of which there is a whole one. */
export function humanAgo(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000)
  const units = [['year', 31_557_600], ['month', 2_629_800], ['day', 86_400], ['hour', 3600], ['min', 60]] as const
  for (const [name, length] of units) {
    const count = Math.floor(seconds / length)
    if (count > 0) return `${count} ${name}${count === 1 || name === 'min' ? '' : 's'} ago`
  }
  return seconds < 5 ? 'now' : `${seconds} s ago`
}

/** `1 item`, `1,234 items` */
export function humanOf(count: number, name: string): string {
  return `${humanCount(count)} ${name}${count === 1 ? '' : 's'}`
}
