# Sourced by campaign-turn.sh. Speaks without a pause until it is let go.
until [ -e "$CAMPAIGN_DIR/over" ]; do
  printf '%s\n' '{"type":"text","text":"on and on"}'
  rest 0.01
done
