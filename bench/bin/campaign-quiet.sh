# Sourced by campaign-turn.sh. The first turn says one thing and is silent until it is let go; later ones speak on.
printf '%s\n' '{"type":"text","text":"hm"}'
if [ "$DROVER_TURN" -eq 1 ]; then
  until [ -e "$CAMPAIGN_DIR/go" ]; do rest 0.02; done
else
  until [ -e "$CAMPAIGN_DIR/over" ]; do
    printf '%s\n' '{"type":"text","text":"at work"}'
    rest 0.05
  done
fi
