"""What every page holds to: it fetches nothing."""

import re


def self_contained(text):
    """Whether a page refers to nothing outside, and tells the browser to refuse what did."""
    elements = re.sub(r"<script\b.*?</script>", "", text, flags=re.S)
    return not re.search(r'(src|href)="(?!data:|#)', elements) and "default-src 'none'" in elements
