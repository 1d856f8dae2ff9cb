"""Makes a folded text and a flame graph of what `perf script -F comm,ip,sym` prints on standard input.

flame.py TITLE FOLDED SVG; also prints the functions that most samples were under.
"""
import collections
import html
import re
import sys

WIDTH, ROW, FONT = 1600, 17, 11
# Plumbing that says nothing about where time goes.
NOISE = re.compile(r"^(tokio::runtime|std::|core::ops|core::future|<core::|__rust|clone3|start_thread|0x|\[unknown)")


def stacks(lines):
    """Each sample's frames, outermost first, with the thread's name before them."""
    comm, frames = None, []
    for line in lines:
        line = line.rstrip("\n")
        if not line:
            if comm:
                yield [comm] + frames[::-1]
            comm, frames = None, []
        elif comm is None:
            comm = line.strip()
        else:
            symbol = line.strip().partition(" ")[2]
            frames.append(re.sub(r"\s*\(.*\)$", "", symbol) or "?")
    if comm:
        yield [comm] + frames[::-1]


class Node:
    def __init__(self):
        self.samples, self.children = 0, {}


def draw(node, name, left, depth, scale, boxes):
    width = node.samples * scale
    if width < 0.3:
        return
    boxes.append((left, depth, width, name, node.samples))
    for child, below in sorted(node.children.items()):
        draw(below, child, left, depth + 1, scale, boxes)
        left += below.samples * scale


def svg(root, title):
    boxes = []
    draw(root, title, 0, 0, WIDTH / max(root.samples, 1), boxes)
    height = (max(depth for _, depth, *_ in boxes) + 1) * ROW
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="monospace" font-size="{FONT}">']
    for left, depth, width, name, samples in boxes:
        shade = 90 + sum(name.encode()) % 100
        text = html.escape(name[: int(width / (FONT * 0.62))]) if width > 30 else ""
        share = 100 * samples / root.samples
        parts.append(
            f'<g><title>{html.escape(name)}: {samples} samples, {share:.1f} %</title>'
            f'<rect x="{left:.1f}" y="{height - (depth + 1) * ROW}" width="{width:.1f}" height="{ROW - 1}" fill="rgb(240,{shade},60)"/>'
            f'<text x="{left + 2:.1f}" y="{height - depth * ROW - 5}">{text}</text></g>'
        )
    return "\n".join(parts) + "\n</svg>\n"


def main():
    title, folded_path, svg_path = sys.argv[1:]
    folded, under, root = collections.Counter(), collections.Counter(), Node()
    for stack in stacks(sys.stdin):
        stack = [frame for frame in stack if not NOISE.match(frame)]
        folded[";".join(stack)] += 1
        under.update(set(stack[1:]))
        node = root
        node.samples += 1
        for frame in stack:
            node = node.children.setdefault(frame, Node())
            node.samples += 1
    with open(folded_path, "w") as out:
        out.writelines(f"{stack} {count}\n" for stack, count in folded.most_common())
    with open(svg_path, "w") as out:
        out.write(svg(root, title))
    for function, count in under.most_common(45):
        print(f"{100 * count / max(root.samples, 1):5.1f} %  {function[:130]}")


main()
