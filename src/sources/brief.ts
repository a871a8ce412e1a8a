const CHARACTERS_MAX = 80

/** A value from a file, for a message: short whatever a hostile file holds. */
export function brief(value: unknown): string {
  if (typeof value === 'string') return value.length <= CHARACTERS_MAX ? JSON.stringify(value) : `${JSON.stringify(value.slice(0, CHARACTERS_MAX))}… (${value.length} characters)`
  if (Array.isArray(value)) return value.length <= 8 && value.every((item) => typeof item === 'number') ? `[${value.join(', ')}]` : `a list of ${value.length}`
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
