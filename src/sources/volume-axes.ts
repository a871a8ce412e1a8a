export interface AxisOptions {
  /** Where the fourth axis goes. */
  readonly time: 'trailing' | 'leading'
  /** Leaves out axes of 1 behind the third. */
  readonly squeeze: boolean
  /** Only the first three axes: what is read is one frame of the fourth. */
  readonly frames?: true
}

/** Shape of what is read, and for each axis of the file how far its neighbours are apart in it, in elements, C order. */
export interface VolumeLayout {
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

/** Shape of what one item has of an image. */
export function itemShapeOf(stored: readonly number[], { frames }: AxisOptions): readonly number[] {
  return frames === true ? stored.slice(0, 3) : stored
}

export function layoutOf(stored: readonly number[], { time, squeeze }: AxisOptions): VolumeLayout {
  const axes = stored.map((_, axis) => axis)
  while (squeeze && axes.length > 3 && stored[axes.at(-1)!] === 1) axes.pop()
  if (time === 'leading' && axes.length > 3) axes.unshift(...axes.splice(3, 1))
  // Axes that were left out have one element, which lies where it lies.
  const strides = stored.map(() => 1)
  axes.reduceRight((stride, axis) => { strides[axis] = stride; return stride * stored[axis]! }, 1)
  return { shape: axes.map((axis) => stored[axis]!), strides }
}

/** A part of a Fortran-ordered array whose elements lie together, and where its first goes. */
export interface VolumeBox {
  readonly extents: readonly number[]
  /** Elements of the file before it, and in it. */
  readonly first: number
  readonly count: number
  /** Of its first element in the result, in elements. */
  readonly offset: number
}

/** The array cut into boxes of at most `elements` each, in the order of the file. */
export function boxesOf(shape: readonly number[], strides: readonly number[], elements: number): VolumeBox[] {
  // The axis that is cut: what comes before it fits whole, what comes behind it is taken one by one.
  let cut = 0
  let below = 1
  while (cut < shape.length - 1 && below * shape[cut]! <= elements) below *= shape[cut++]!
  const step = Math.max(1, Math.floor(elements / below))
  const boxes: VolumeBox[] = []
  const index = shape.map(() => 0)
  const all = shape.reduce((product, extent) => product * extent, 1)
  for (let first = 0; first < all;) {
    const extent = Math.min(step, shape[cut]! - index[cut]!)
    boxes.push({ extents: shape.map((whole, axis) => axis < cut ? whole : axis === cut ? extent : 1), first, count: below * extent, offset: index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0) })
    first += below * extent
    index[cut]! += extent
    for (let axis = cut; index[axis] === shape[axis] && axis < shape.length - 1; axis++) {
      index[axis] = 0
      index[axis + 1]!++
    }
  }
  return boxes
}
