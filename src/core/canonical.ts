/**
 * RFC 8785 canonical JSON: keys sorted by UTF-16 code unit, no white space, ECMAScript number format. What JSON cannot
 * say is tagged: `{"$f":"nan"|"inf"|"-inf"|"-0"}`, integers beyond 2^53 `{"$i":"…"}`, bytes `{"$b":"base64"}`.
 * What has no stable form is refused by name, because a key made of it would not be found again.
 */
export function canonicalJson(value: unknown): string {
  return write(value, '$', [])
}

function write(value: unknown, path: string, parents: object[]): string {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) refuse(path, 'a string with a lone surrogate')
      return JSON.stringify(value)
    case 'boolean':
      return String(value)
    case 'number':
      if (Number.isNaN(value)) return '{"$f":"nan"}'
      if (value === Infinity) return '{"$f":"inf"}'
      if (value === -Infinity) return '{"$f":"-inf"}'
      if (Object.is(value, -0)) return '{"$f":"-0"}'
      return JSON.stringify(value)
    case 'bigint':
      return value >= -(2n ** 53n) && value <= 2n ** 53n ? String(value) : `{"$i":"${value}"}`
    case 'object':
      return value === null ? 'null' : writeObject(value, path, parents)
    default:
      return refuse(path, typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`)
  }
}

function writeObject(value: object, path: string, parents: object[]): string {
  if (parents.includes(value)) refuse(path, 'a reference to itself')
  if (value instanceof Uint8Array) return `{"$b":"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"}`
  const inside = [...parents, value]
  if (Array.isArray(value)) {
    const parts = Array.from(value, (element, index) => write(element, `${path}[${index}]`, inside))
    return `[${parts.join(',')}]`
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) refuse(path, `an instance of ${value.constructor?.name ?? 'a class'}`)
  const parts: string[] = []
  for (const key of Object.keys(value).sort()) {
    const element = (value as Record<string, unknown>)[key]
    // An absent option and an option set to undefined ask for the same thing.
    if (element === undefined) continue
    if (key.startsWith('$')) refuse(`${path}.${key}`, 'a name that begins with $, which marks tags')
    if (!key.isWellFormed()) refuse(path, 'a name with a lone surrogate')
    parts.push(`${JSON.stringify(key)}:${write(element, `${path}.${key}`, inside)}`)
  }
  return `{${parts.join(',')}}`
}

function refuse(path: string, what: string): never {
  throw new TypeError(`${path} is ${what}, which has no stable form for a key`)
}
