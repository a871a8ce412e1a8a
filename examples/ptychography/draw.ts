// Groups of a scan to look at: where their points lie on the object, and their patterns.
import type { Dataset, Source, Tensor } from 'tensorcache'
import { Canvas } from '../canvas.js'
import { writeSheet, type Picture, type Rgb, type Row } from '../sheet.js'

/** Pixels of the picture per pixel of the object, and of a pattern. */
const [ZOOM, PATTERN_ZOOM] = [5, 3]
const COLOURS: readonly Rgb[] = [[255, 96, 64], [64, 190, 255], [120, 230, 90], [255, 205, 60], [225, 120, 255]]
const POINT: Rgb = [214, 214, 220]
/** Pixels of the object that are to be between the groups that are drawn. */
const APART = 45

interface Group { readonly name: string; readonly colour: Rgb; readonly sample: number; readonly members: readonly number[]; readonly diffraction: Float32Array }
interface Points { readonly x: Float64Array; readonly y: Float64Array }

/** Left the scan over the object's phase, with some groups; right the patterns of these, in logarithms of their counts. */
export async function draw(path: string, groups: Dataset, source: Source, neighbors: number): Promise<void> {
  const points = await pointsOf(source)
  const shown = await apart(groups, points)
  const side = groups.fields.diffraction!.shape[1] as number
  const map: Row[] = [
    { caption: `phase of the object, ${points.x.length} points of the scan`, pictures: [mapOf(groups.constants.object!, points, shown, neighbors)] },
    { caption: `large: the sample, thin: its ${neighbors} nearest, thick: its group`, pictures: [] },
  ]
  writeSheet(path, [map, shown.map((group) => ({
    caption: `${group.name}: ${group.members.join(', ')}, around ${group.sample}`,
    pictures: group.members.map((_, k) => patternOf(group.diffraction.subarray(k * side * side, (k + 1) * side * side), side, group.colour)),
  }))])
}

async function pointsOf(source: Source): Promise<Points> {
  const points = { x: new Float64Array(source.length), y: new Float64Array(source.length) }
  for await (const { start, fields } of source.read(0, source.length, { fields: ['xcoords', 'ycoords'] })) {
    points.x.set((fields.xcoords as Tensor<'float64'>).data, start)
    points.y.set((fields.ycoords as Tensor<'float64'>).data, start)
  }
  return points
}

/** The first groups none of which is near another. */
async function apart(groups: Dataset, { x, y }: Points): Promise<Group[]> {
  const shown: Group[] = []
  for (let k = 0; k < groups.length && shown.length < COLOURS.length; k++) {
    const item = await groups.get(k) as unknown as { id: string; sample: Tensor<'int32'>; groups: Tensor<'int32'>; diffraction: Tensor<'float32'> }
    const sample = item.sample.data[0]!
    if (shown.some(({ sample: other }) => Math.hypot(x[sample]! - x[other]!, y[sample]! - y[other]!) < APART)) continue
    shown.push({ name: item.id, colour: COLOURS[shown.length]!, sample, members: Array.from(item.groups.data), diffraction: item.diffraction.data })
  }
  return shown
}

/** The middle of an object's pixel lies at its coordinates. */
const at = (coordinate: number): number => (coordinate + 0.5) * ZOOM

function mapOf(object: Tensor, { x, y }: Points, shown: readonly Group[], neighbors: number): Picture {
  const [height, width] = object.shape as [number, number]
  const data = object.data as Float32Array
  const phases = Float64Array.from({ length: height * width }, (_, k) => Math.atan2(data[2 * k + 1]!, data[2 * k]!))
  const top = phases.reduce((most, phase) => Math.max(most, phase), 0)
  const canvas = new Canvas(width * ZOOM, height * ZOOM, (u, v) => {
    const grey = 28 + Math.round(85 * Math.max(0, phases[Math.floor(v / ZOOM) * width + Math.floor(u / ZOOM)]! / top))
    return [grey, grey, grey]
  })
  x.forEach((_, k) => canvas.disc(at(x[k]!), at(y[k]!), 2.2, POINT))
  for (const { colour, sample, members } of shown) {
    const line = (point: number, wide: number): void => canvas.line(at(x[sample]!), at(y[sample]!), at(x[point]!), at(y[point]!), wide, colour)
    for (const point of nearest({ x, y }, sample, neighbors)) {
      line(point, 1)
      canvas.disc(at(x[point]!), at(y[point]!), 3, colour)
    }
    for (const point of members) {
      line(point, 3.5)
      canvas.disc(at(x[point]!), at(y[point]!), 5, colour)
    }
    canvas.disc(at(x[sample]!), at(y[sample]!), 8, colour)
    // Dark inside, unless the sample was drawn into its own group.
    if (!members.includes(sample)) canvas.disc(at(x[sample]!), at(y[sample]!), 5.5, [20, 20, 20])
  }
  return canvas
}

/** By a search through all, not as `group` searches: what is drawn should not take its word for it. */
function nearest({ x, y }: Points, sample: number, count: number): number[] {
  const squared = (k: number): number => (x[k]! - x[sample]!) ** 2 + (y[k]! - y[sample]!) ** 2
  return Array.from(x, (_, k) => k).sort((a, b) => squared(a) - squared(b) || a - b).slice(0, count)
}

/** In a frame of its group's colour. */
function patternOf(values: Float32Array, side: number, colour: Rgb): Picture {
  const top = Math.log1p(100 * values.reduce((most, value) => Math.max(most, value), 0))
  const width = side * PATTERN_ZOOM
  return {
    width, height: width,
    at(u, v) {
      if (Math.min(u, v) < 2 || Math.max(u, v) >= width - 2) return colour
      const level = Math.log1p(100 * values[Math.floor(v / PATTERN_ZOOM) * side + Math.floor(u / PATTERN_ZOOM)]!) / top
      return [255 * Math.min(1, 1.6 * level), 255 * level ** 1.5, 255 * Math.max(0, Math.min(1, 0.5 * level + (level - 0.75) * 2))].map(Math.round) as unknown as Rgb
    },
  }
}
