/** Points of a plane, with finite coordinates that stay as they are. Whoever asks again of the same object need not wait for it to be sorted. */
export interface PlanePoints {
  /** First coordinate of each point. */
  readonly x: Float64Array
  /** Second coordinate of each point, as many. */
  readonly y: Float64Array
}

/** Points by nearness: by squared distance, (x − x₀)² + (y − y₀)² in doubles, each operation rounded once, and of equally near ones by index. [places, k] each. */
export interface Nearest {
  /** Which points, by index; [places, k]. */
  readonly index: Int32Array
  /** Their squared distances, in the unit of the coordinates squared; [places, k]. */
  readonly squared: Float64Array
}

/** The `k` nearest of `points` to each of the points `at`, itself among them; `k` is at most as many as there are. */
export type NearestSearch = (points: PlanePoints, at: Int32Array, k: number) => Promise<Nearest>
