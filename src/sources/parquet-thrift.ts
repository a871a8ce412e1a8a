/**
 * The gate of the records in a Parquet file (Thrift's compact protocol), walked through before hyparquet reads them: it makes room for as many elements as a list claims to have, list within list, and V8 ends the process for
 * that. A list that was walked through has its elements. Nothing is kept.
 */
const DEPTH_MAX = 64
const [FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, STRUCT] = [2, 3, 4, 5, 6, 7, 8, 9, 12]

/** Where the record at `offset` ends. Throws RangeError when it does not end within the bytes, and Error for what cannot be one. */
export function recordEnd(view: DataView, offset: number): number {
  return struct(view, offset, 0)
}

function struct(view: DataView, offset: number, depth: number): number {
  if (depth > DEPTH_MAX) throw new Error(`records within records, more than ${DEPTH_MAX} deep`)
  for (let at = offset; ;) {
    const head = view.getUint8(at++)
    const type = head & 0x0f
    if (type === 0) return at
    // The number of the field, where it is far from the one before.
    if (head >> 4 === 0) at = varintEnd(view, at)
    at = element(view, at, type, depth)
  }
}

function element(view: DataView, at: number, type: number, depth: number): number {
  switch (type) {
    case 1:
    case FALSE: return at
    case BYTE: return within(view, at + 1)
    case I16:
    case I32:
    case I64: return varintEnd(view, at)
    case DOUBLE: return within(view, at + 8)
    case BINARY: {
      const end = varintEnd(view, at)
      return within(view, end + lengthAt(view, at))
    }
    case LIST: return list(view, at, depth)
    case STRUCT: return struct(view, at, depth + 1)
    default: throw new Error(`a value of type ${type} in a record`)
  }
}

function list(view: DataView, offset: number, depth: number): number {
  if (depth > DEPTH_MAX) throw new Error(`lists within lists, more than ${DEPTH_MAX} deep`)
  let at = offset + 1
  const head = view.getUint8(offset)
  const type = head & 0x0f
  let length = head >> 4
  if (length === 15) {
    length = lengthAt(view, at)
    at = varintEnd(view, at)
  }
  // Each takes a byte at least.
  within(view, at + length)
  for (let k = 0; k < length; k++) at = type <= FALSE ? within(view, at + 1) : element(view, at, type, depth + 1)
  return at
}

function lengthAt(view: DataView, offset: number): number {
  let length = 0
  for (let k = 0; k < 5; k++) {
    const byte = view.getUint8(offset + k)
    length += (byte & 0x7f) * 2 ** (7 * k)
    if (byte < 0x80) return length
  }
  throw new Error('a length of more than 35 bits in a record')
}

function varintEnd(view: DataView, offset: number): number {
  for (let at = offset; at < offset + 10; at++) if (view.getUint8(at) < 0x80) return at + 1
  throw new Error('a number of more than 70 bits in a record')
}

function within(view: DataView, end: number): number {
  if (end > view.byteLength) throw new RangeError('a record that goes beyond its end')
  return end
}
