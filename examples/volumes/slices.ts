// Slices of volumes to look at, in grey, with contours of masks.
import type { Tensor } from 'tensorcache'
import type { Picture, Rgb, Row } from '../sheet.js'

/** What is drawn of a volume: the slices along all three axes that meet in one voxel, in millimetres, so that voxels that are not cubes are not shown as such. */
export interface View {
  readonly caption: string
  /** [x, y, z] */
  readonly image: Tensor
  /** uint8, of the image's shape: where it changes, a line is drawn. */
  readonly mask: Tensor<'uint8'>
  /** The voxel that the slices meet in. */
  readonly at: readonly number[]
  /** mm along each axis */
  readonly spacing: readonly number[]
  /** Values that are black and white. */
  readonly window: readonly [black: number, white: number]
}

const PIXELS_PER_MM = 0.62
/** By label: the organ and what is in it. */
const CONTOURS: readonly Rgb[] = [[0, 0, 0], [64, 170, 255], [255, 96, 64]]
/** [horizontal, upwards, across]: as a reader of images in RAS expects them, but for the side that right is on. */
const PLANES = [[0, 1, 2], [0, 2, 1], [1, 2, 0]] as const

/** The row of a volume: its slices along all axes. */
export function rowOf(view: View): Row {
  return { caption: view.caption, pictures: PLANES.map((plane) => picture(view, plane)) }
}

/** A slice whose pixels are squares in the world. */
function picture({ image, mask, at: middle, spacing, window: [black, white] }: View, [across, up, through]: typeof PLANES[number]): Picture {
  const { shape } = image
  const pixels = (axis: number): number => Math.round(shape[axis]! * spacing[axis]! * PIXELS_PER_MM)
  const [width, height] = [pixels(across), pixels(up)]
  const strides = [shape[1]! * shape[2]!, shape[2]!, 1]
  const voxel = (u: number, v: number): number => {
    const i = Math.min(shape[across]! - 1, Math.floor((u + 0.5) / width * shape[across]!))
    const j = Math.min(shape[up]! - 1, Math.floor((height - v - 0.5) / height * shape[up]!))
    return i * strides[across]! + j * strides[up]! + middle[through]! * strides[through]!
  }
  const label = (u: number, v: number): number => mask.data[voxel(u, v)]!
  return {
    width, height,
    at(u, v) {
      const own = label(u, v)
      const isEdge = own > 0 && ((u > 0 && label(u - 1, v) < own) || (v > 0 && label(u, v - 1) < own) || (u < width - 1 && label(u + 1, v) < own) || (v < height - 1 && label(u, v + 1) < own))
      if (isEdge) return CONTOURS[own]!
      const grey = Math.round(255 * Math.min(1, Math.max(0, (Number(image.data[voxel(u, v)]!) - black) / (white - black))))
      return [grey, grey, grey]
    },
  }
}
