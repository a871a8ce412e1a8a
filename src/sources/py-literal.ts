import { brief } from './brief.js'

/** A value of the part of Python's literal grammar that array headers use. Tuples and lists keep apart: a dtype is one or the other. */
export type PyValue = string | bigint | boolean | null | PyTuple | PyList | PyDict
export interface PyTuple { readonly kind: 'tuple'; readonly items: readonly PyValue[] }
export interface PyList { readonly kind: 'list'; readonly items: readonly PyValue[] }
export interface PyDict { readonly kind: 'dict'; readonly entries: ReadonlyMap<string, PyValue> }

/** Nested structured dtypes reach this deep at most. */
const DEPTH_MAX = 32
/** Decimal digits: an extent of 2⁶⁴ has 20. Longer numbers would only cost time. */
const DIGITS_MAX = 40

/** What is wrong with a literal, and where. */
export class LiteralError extends Error {
  readonly at: number
  constructor(at: number, message: string) {
    super(message)
    this.at = at
  }
}

/**
 * Reads strings, integers, True, False, None, tuples, lists and dicts with string keys; nothing is evaluated. Only white space may
 * follow. Throws LiteralError.
 */
export function parseLiteral(text: string): PyValue {
  const parser = new Parser(text)
  const value = parser.value(0)
  parser.space()
  if (parser.at < text.length) throw new LiteralError(parser.at, 'text after the value')
  return value
}

class Parser {
  at = 0
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  space(): void {
    while (' \t\r\n'.includes(this.#text[this.at] ?? 'x')) this.at++
  }

  value(depth: number): PyValue {
    if (depth > DEPTH_MAX) this.#fail(`more than ${DEPTH_MAX} nested values`)
    this.space()
    const first = this.#text[this.at]
    if (first === undefined) this.#fail('an end where a value should be')
    if (first === '\'' || first === '"') return this.#string(first)
    if (first === '(') return this.#tuple(depth)
    if (first === '[') return { kind: 'list', items: this.#items(']', depth).items }
    if (first === '{') return this.#dict(depth)
    if (first === '-' || first === '+' || isDigit(first)) return this.#integer()
    for (const [name, value] of [['True', true], ['False', false], ['None', null]] as const) {
      if (this.#text.startsWith(name, this.at) && !/\w/.test(this.#text[this.at + name.length] ?? '')) {
        this.at += name.length
        return value
      }
    }
    return this.#fail(`${JSON.stringify(first)} where a value should be`)
  }

  #tuple(depth: number): PyValue {
    const { items, comma } = this.#items(')', depth)
    // Brackets around one value without a comma are just brackets.
    return items.length === 1 && !comma ? items[0]! : { kind: 'tuple', items }
  }

  #items(close: string, depth: number): { items: PyValue[]; comma: boolean } {
    this.at++
    const items: PyValue[] = []
    let comma = false
    for (;;) {
      this.space()
      if (this.#text[this.at] === close) {
        this.at++
        return { items, comma }
      }
      if (items.length > 0 && !comma) this.#fail(`a missing comma or "${close}"`)
      items.push(this.value(depth + 1))
      comma = this.#comma()
    }
  }

  #dict(depth: number): PyDict {
    this.at++
    const entries = new Map<string, PyValue>()
    let comma = true
    for (;;) {
      this.space()
      if (this.#text[this.at] === '}') {
        this.at++
        return { kind: 'dict', entries }
      }
      if (!comma) this.#fail('a missing comma or "}"')
      const key = this.value(depth + 1)
      if (typeof key !== 'string') this.#fail('a key that is not a string')
      if (entries.has(key)) this.#fail(`key ${brief(key)} twice`)
      this.space()
      if (this.#text[this.at] !== ':') this.#fail('a missing colon')
      this.at++
      entries.set(key, this.value(depth + 1))
      comma = this.#comma()
    }
  }

  #comma(): boolean {
    this.space()
    if (this.#text[this.at] !== ',') return false
    this.at++
    return true
  }

  #integer(): bigint {
    const start = this.at
    if (!isDigit(this.#text[this.at]!)) this.at++
    const digits = this.at
    while (isDigit(this.#text[this.at] ?? '')) this.at++
    if (this.at === digits) this.#fail('a sign without a number')
    if (this.at - digits > DIGITS_MAX) this.#fail(`a number of more than ${DIGITS_MAX} digits`)
    const magnitude = BigInt(this.#text.slice(digits, this.at))
    // Python 2 wrote long integers with an L.
    if (this.#text[this.at] === 'L') this.at++
    if (/[\w.]/.test(this.#text[this.at] ?? '')) this.#fail('a number that is not an integer')
    return this.#text[start] === '-' ? -magnitude : magnitude
  }

  #string(quote: string): string {
    this.at++
    let value = ''
    for (;;) {
      const next = this.#text[this.at++]
      if (next === undefined || next === '\n') this.#fail('a string without an end')
      if (next === quote) return value
      value += next === '\\' ? this.#escape() : next
    }
  }

  #escape(): string {
    const letter = this.#text[this.at++]
    const plain: Record<string, string> = { '\\': '\\', '\'': '\'', '"': '"', n: '\n', r: '\r', t: '\t' }
    if (letter !== undefined && Object.hasOwn(plain, letter)) return plain[letter]!
    const digits = letter === 'x' ? 2 : letter === 'u' ? 4 : letter === 'U' ? 8 : 0
    const hex = this.#text.slice(this.at, this.at + digits)
    const code = Number.parseInt(hex, 16)
    if (digits === 0 || !/^[0-9a-fA-F]+$/.test(hex) || hex.length !== digits || code > 0x10ffff) this.#fail('an escape that is not known')
    this.at += digits
    return String.fromCodePoint(code)
  }

  #fail(message: string): never {
    throw new LiteralError(this.at, message)
  }
}

function isDigit(character: string): boolean {
  return character >= '0' && character <= '9'
}
