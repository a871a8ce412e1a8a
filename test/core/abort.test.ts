import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { onAbort } from '../../src/core/abort.js'

describe('onAbort', () => {
  test('all who wait for a signal are told, and share one listener', () => {
    const { signal, abort } = controller()
    const told: string[] = []
    for (let k = 0; k < 20; k++) onAbort(signal, (reason) => told.push(`${k} ${reason.message}`))
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    abort(new Error('enough'))
    expect(told).toEqual(Array.from({ length: 20 }, (_, k) => `${k} enough`))
  })

  test('who has ended is not told, and the last takes the listener along', () => {
    const { signal, abort } = controller()
    const told: number[] = []
    const ends = [0, 1, 2].map((k) => onAbort(signal, () => told.push(k)))
    ends[1]!()
    ends[1]!()
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    ends[0]!()
    ends[2]!()
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    onAbort(signal, () => told.push(3))
    // Long over: says nothing about those who came after.
    ends[0]!()
    abort(new Error('enough'))
    expect(told).toEqual([3])
  })

  test('who ends while others are told may be told', () => {
    const { signal, abort } = controller()
    const told: number[] = []
    const end = onAbort(signal, () => { told.push(0) })
    onAbort(signal, () => { told.push(1); end() })
    abort(new Error('enough'))
    expect(told).toEqual([0, 1])
  })
})

function controller(): { signal: AbortSignal; abort(reason: Error): void } {
  const own = new AbortController()
  return { signal: own.signal, abort: (reason) => own.abort(reason) }
}
