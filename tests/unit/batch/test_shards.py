from __future__ import annotations

from live_spec.batch.shards import MOST_UNITS, Shard, Unit, files_of, plan


def folder(path, sizes):
    path.mkdir(exist_ok=True)
    for name, size in sizes.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"x" * size)
    return path


def test_a_plan_is_the_files_in_order_cut_by_size_and_number(tmp_path):
    root = folder(tmp_path / "in", {"b.npz": 60, "a/z.fits": 50, "c.fits.gz": 10, "notes.txt": 5, "d.parquet": 300})
    files = list(files_of(root))
    assert [name for _, name in files] == ["a/z.fits", "b.npz", "c.fits.gz", "d.parquet"]
    shards = plan([(path, name, 3 if name == "d.parquet" else 1) for path, name in files], most_bytes=120)
    names = [[(unit.name, unit.part) for unit in shard.units] for shard in shards]
    assert names == [
        [("a/z.fits", 0), ("b.npz", 0), ("c.fits.gz", 0)], [("d.parquet", 0)], [("d.parquet", 1)], [("d.parquet", 2)],
    ]  # fmt: skip
    many = plan([(root / "b.npz", str(n), 1) for n in range(MOST_UNITS + 1)])
    assert [len(shard.units) for shard in many] == [MOST_UNITS, 1]
    assert plan([]) == []


def test_results_among_the_inputs_are_left_out(tmp_path):
    root = folder(tmp_path / "in", {"a.npz": 1, "out/labels-1.parquet": 1})
    assert [name for _, name in files_of(root, leave_out=root / "out")] == ["a.npz"]
    empty = folder(tmp_path / "empty", {})
    assert files_of(empty) == [(empty, "empty")]  # for the reader to refuse


def test_a_digest_follows_content_name_and_purpose_not_place_or_time(tmp_path):
    def digest(place, name="a.npz", content=b"1", purpose="p", part=0):
        folder(tmp_path / place, {})
        path = tmp_path / place / "file"
        path.write_bytes(content)
        return Shard((Unit(path, name, part, 1),)).digest(purpose)

    one = digest("here")
    assert digest("there") == one
    others = {
        digest("b", name="b.npz"), digest("c", content=b"2"), digest("d", purpose="q"), digest("e", part=1),
    }  # fmt: skip
    assert len(others | {one}) == 5
