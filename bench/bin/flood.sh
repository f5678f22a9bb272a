#!/bin/sh
# A harness that prints FILE, TIMES times, as fast as it can.
file=$1
times=$2
while [ "$times" -gt 0 ]; do
  cat "$file"
  times=$((times - 1))
done
