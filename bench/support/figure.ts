/** One line of the table: what was measured, against what, and whether that is good enough. */
export interface Figure {
  name: string;
  unit: string;
  /** The same work without drover, measured in the same rounds; null where the goal is an absolute number. */
  floor: number | null;
  product: number;
  /** `product / floor`. */
  ratio: number | null;
  goal: string;
  /** null: information, nothing is promised. */
  ok: boolean | null;
  note: string;
}

interface Measured {
  name: string;
  unit: string;
  product: number;
  note?: string;
}

/** Good when the product costs at most `limit` times the floor. */
export function timesFloor(limit: number, measured: Measured & { floor: number }): Figure {
  const ratio = measured.product / measured.floor;
  return { note: '', ...measured, ratio, goal: `<= ${limit} x`, ok: ratio <= limit };
}

/** Good when the product costs at most `limit` units more than the floor. */
export function aboveFloor(limit: number, measured: Measured & { floor: number }): Figure {
  const { floor, product, unit } = measured;
  return { note: '', ...measured, ratio: product / floor, goal: `<= +${limit} ${unit}`, ok: product - floor <= limit };
}

/** Good when the product is at most `limit`. */
export function atMost(limit: number, measured: Measured): Figure {
  return {
    note: '',
    ...measured,
    floor: null,
    ratio: null,
    goal: `<= ${round(limit)} ${measured.unit}`,
    ok: measured.product <= limit,
  };
}

/** A number worth knowing, without a promise. */
export function information(measured: Measured & { floor?: number }): Figure {
  const floor = measured.floor ?? null;
  return {
    note: '',
    ...measured,
    floor,
    ratio: floor === null ? null : measured.product / floor,
    goal: '',
    ok: null,
  };
}

/** The figures as columns. */
export function table(groups: ReadonlyMap<string, Figure[]>): string {
  const rows = [['', 'floor', 'product', 'ratio', 'goal', '', '']];
  for (const [bench, figures] of groups) {
    rows.push([bench, '', '', '', '', '', '']);
    for (const each of figures) rows.push(cells(each));
  }
  const widths = [0, 1, 2, 3, 4, 5].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, i: number) =>
    i === 0 || i > 3 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0);
  return rows.map((row) => row.map(pad).join('  ').trimEnd()).join('\n');
}

function cells(figure: Figure): string[] {
  return [
    `  ${figure.name}`,
    figure.floor === null ? '' : `${round(figure.floor)} ${figure.unit}`,
    `${round(figure.product)} ${figure.unit}`,
    figure.ratio === null ? '' : `${figure.ratio.toFixed(2)} x`,
    figure.goal,
    figure.ok === null ? 'info' : figure.ok ? 'ok' : 'OVER',
    figure.note,
  ];
}

function round(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 3);
}
