"""One verb a file: tissue, embed, map, search, heatmap, segment, export."""
