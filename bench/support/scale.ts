export interface Scale {
  /** A quick look instead of a careful one. */
  small: boolean;
}
