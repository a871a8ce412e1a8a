/** Fields of a protobuf message where they lie: enough to look at a model without its weights. */

export interface ProtoField {
  readonly number: number
  /** Of a varint or a fixed number. Varints beyond 2^53 are given as the nearest number: none that is looked at is so large. */
  readonly value: number
  /** Of what has a length. */
  readonly bytes: Uint8Array | undefined
}

export class ProtoFault extends Error {}

/** Varints are at most so long. */
const VARINT_BYTES = 10

/** The fields of a message in order. Throws ProtoFault where it is none. */
export function * fieldsOf(message: Uint8Array): Generator<ProtoField> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let k = 0; k < VARINT_BYTES; k++) {
      const byte = message[at++]
      if (byte === undefined) throw new ProtoFault('it ends within a number')
      value += (byte & 127) * 2 ** (7 * k)
      if (byte < 128) return value
    }
    throw new ProtoFault(`a number of more than ${VARINT_BYTES} bytes`)
  }
  const skip = (length: number): Uint8Array => {
    if (length > message.length - at) throw new ProtoFault(`a field of ${length} bytes where ${message.length - at} are left`)
    at += length
    return message.subarray(at - length, at)
  }
  while (at < message.length) {
    const tag = varint()
    const number = Math.floor(tag / 8)
    if (number === 0) throw new ProtoFault('a field with the number 0')
    switch (tag % 8) {
      case 0: yield { number, value: varint(), bytes: undefined }; break
      case 1: skip(8); yield { number, value: NaN, bytes: undefined }; break
      case 2: yield { number, value: NaN, bytes: skip(varint()) }; break
      case 5: skip(4); yield { number, value: NaN, bytes: undefined }; break
      default: throw new ProtoFault(`a field of wire type ${tag % 8}`)
    }
  }
}

const UTF8 = new TextDecoder('utf-8')

/** The text of a field. */
export function textOf({ bytes }: ProtoField): string {
  if (bytes === undefined) throw new ProtoFault('a number where a text must be')
  return UTF8.decode(bytes)
}

/** The message in a field. */
export function messageOf({ bytes }: ProtoField): Uint8Array {
  if (bytes === undefined) throw new ProtoFault('a number where a message must be')
  return bytes
}
