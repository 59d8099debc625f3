"""What headers say is kept in Matroska, and named where it is not; judged by mkvmerge."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import av
import pytest
from judges import ffprobe, need
from PIL import Image

from sdr2hdr import convert
from sdr2hdr.jobs.report import Report
from sdr2hdr.media.info import read_info

CHAPTERS = """<?xml version="1.0"?><Chapters><EditionEntry><EditionFlagOrdered>1</EditionFlagOrdered><ChapterAtom>
<ChapterTimeStart>00:00:00.000</ChapterTimeStart><ChapterTimeEnd>00:00:00.800</ChapterTimeEnd>
<ChapterDisplay><ChapterString>Erster Teil</ChapterString><ChapterLanguage>ger</ChapterLanguage></ChapterDisplay>
<ChapterDisplay><ChapterString>First part</ChapterString><ChapterLanguage>eng</ChapterLanguage></ChapterDisplay>
<ChapterAtom><ChapterTimeStart>00:00:00.400</ChapterTimeStart><ChapterTimeEnd>00:00:00.800</ChapterTimeEnd>
<ChapterDisplay><ChapterString>Inner</ChapterString><ChapterLanguage>eng</ChapterLanguage></ChapterDisplay>
</ChapterAtom></ChapterAtom></EditionEntry></Chapters>"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("headers") / "base.mkv"
    source = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=160x96:r=25:d=0.8",
        "-f",
        "lavfi",
        "-i",
        "sine=d=0.8",
    ]
    coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run([need("ffmpeg"), "-v", "error", *source, *coded, path], check=True)
    return path


def merged(path: Path, *options: object) -> Path:
    subprocess.run([need("mkvmerge"), "-q", "-o", path, *map(str, options)], check=True)
    return path


def edited(path: Path, base: Path, **values: int | str) -> Path:
    path.write_bytes(base.read_bytes())
    sets = [
        part
        for key, value in values.items()
        for part in ("--set", f"{key.replace('_', '-')}={value}")
    ]
    subprocess.run([need("mkvpropedit"), "-q", path, "--edit", "track:v1", *sets], check=True)
    return path


def converted(source: Path, target: Path, **options: str) -> Report:
    return convert(source, target, model="bt2408", scenes="none", preset="ultrafast", **options)  # type: ignore[arg-type]


def tracks(path: Path) -> list[dict[str, Any]]:
    """What mkvmerge says of a file's tracks; it must find nothing to warn of."""
    out = subprocess.run([need("mkvmerge"), "-J", path], check=True, capture_output=True, text=True)
    facts = json.loads(out.stdout)
    assert not facts["warnings"]
    assert not facts["errors"]
    return [track["properties"] for track in facts["tracks"]]


@pytest.mark.parametrize("mode", [1, 2, 3, 11, 10])
def test_two_views_keep_their_mark_and_aspect(tmp_path: Path, base: Path, mode: int) -> None:
    source = merged(tmp_path / "a.mkv", "--stereo-mode", f"0:{mode}", base)
    report = converted(source, tmp_path / "out.mkv")
    (was, *_), (now, *_) = tracks(source), tracks(tmp_path / "out.mkv")
    assert now["stereo_mode"] == was["stereo_mode"] == mode
    assert now["display_dimensions"] == was["display_dimensions"]
    assert not any("view" in note for note in report.notes)


@pytest.mark.parametrize(("kind", "words"), [(1, "equirectangular"), (2, "cube map")])
def test_a_sphere_keeps_its_projection(tmp_path: Path, base: Path, kind: int, words: str) -> None:
    source = edited(
        tmp_path / "a.mkv",
        base,
        projection_type=kind,
        projection_private="00" * (20 if kind == 1 else 12),
    )
    converted(source, tmp_path / "out.mkv")
    assert tracks(tmp_path / "out.mkv")[0]["projection_type"] == kind
    report = converted(source, tmp_path / "out.mp4")
    assert any(f"the {words} projection left out" in note for note in report.notes)


def test_a_crop_is_kept_with_its_aspect(tmp_path: Path, base: Path) -> None:
    crop = {
        "pixel_crop_left": 16,
        "pixel_crop_right": 8,
        "pixel_crop_top": 4,
        "pixel_crop_bottom": 12,
    }
    sizes = {"display_width": 272, "display_height": 160}  # of 136 x 80 pixels that are 1:1
    source = edited(tmp_path / "a.mkv", base, **crop, **sizes)
    converted(source, tmp_path / "out.mkv")
    out = subprocess.run(
        [need("mkvinfo"), tmp_path / "out.mkv"], check=True, capture_output=True, text=True
    ).stdout
    for side in ("left: 16", "right: 8", "top: 4", "bottom: 12"):
        assert f"Pixel crop {side}" in out
    width, height = map(int, tracks(tmp_path / "out.mkv")[0]["display_dimensions"].split("x"))
    assert width / height == 136 / 80
    assert read_info(tmp_path / "out.mkv").headers.crop == {
        "left": 16,
        "right": 8,
        "top": 4,
        "bottom": 12,
    }
    report = converted(source, tmp_path / "out.mp4")
    assert any(
        "the crop (16 left, 4 top, 8 right, 12 bottom) left out" in note for note in report.notes
    )


def test_languages_keep_their_script_and_region(tmp_path: Path, base: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,600\nHello\n")
    wanted = ["ja", "sr-Latn", "zh-Hant", "zh-Hans", "pt-BR", "es-419"]
    subtitles = [
        part for tag in wanted[2:] for part in ("--language", f"0:{tag}", tmp_path / "s.srt")
    ]
    source = merged(
        tmp_path / "a.mkv", "--language", "0:ja", "--language", "1:sr-Latn", base, *subtitles
    )
    converted(source, tmp_path / "out.mkv")
    found = tracks(tmp_path / "out.mkv")
    assert [track["language_ietf"] for track in found] == wanted
    assert [track["language"] for track in found] == ["jpn", "srp", "chi", "chi", "por", "spa"]
    report = converted(source, tmp_path / "out.mp4")
    assert any("zh-Hant, zh-Hans, pt-BR, es-419 shortened" in note for note in report.notes)


def test_flags_are_kept(tmp_path: Path, base: Path) -> None:
    flags = {"flag_original": 1, "flag_commentary": 1, "flag_hearing_impaired": 1, "flag_forced": 1}
    source = edited(tmp_path / "a.mkv", base, **flags)
    subprocess.run(
        [
            need("mkvpropedit"),
            "-q",
            source,
            "--edit",
            "track:a1",
            "--set",
            "flag-visual-impaired=1",
        ],
        check=True,
    )
    converted(source, tmp_path / "out.mkv")
    for was, now in zip(tracks(source), tracks(tmp_path / "out.mkv"), strict=True):
        kept = [
            {key: value for key, value in track.items() if "flag_" in key or "_track" in key}
            for track in (was, now)
        ]
        assert kept[0] == kept[1]


def extracted(path: Path) -> str:
    """mkvextract's XML of the chapters."""
    command = [need("mkvextract"), path, "chapters", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_chapters_keep_levels_languages_and_flags(tmp_path: Path, base: Path) -> None:
    (tmp_path / "c.xml").write_text(CHAPTERS)
    source = merged(tmp_path / "a.mkv", "--chapters", tmp_path / "c.xml", base)
    converted(source, tmp_path / "out.mkv")
    was, now = extracted(source), extracted(tmp_path / "out.mkv")
    assert "Erster Teil" in was
    assert now == was
    assert ffprobe(tmp_path / "out.mkv", "-show_chapters") == ffprobe(source, "-show_chapters")
    report = converted(source, tmp_path / "out.mp4")
    (note,) = [note for note in report.notes if "chapters" in note]
    assert "levels, languages (de, en), flags (ordered edition)" in note


def with_chapters(path: Path, base: Path, *, end: float | None = None, **starts: float) -> Path:
    """A source with a chapter of each name, which begins at so many seconds; the file has them in this order.

    All end at ``end`` if it is given.
    """
    ends = "" if end is None else f"<ChapterTimeEnd>00:00:{end:06.3f}</ChapterTimeEnd>"
    atoms = "".join(
        f"<ChapterAtom><ChapterTimeStart>00:00:{start:06.3f}</ChapterTimeStart>{ends}<ChapterDisplay>"
        f"<ChapterString>{name}</ChapterString></ChapterDisplay></ChapterAtom>"
        for name, start in starts.items()
    )
    listed = path.with_suffix(".xml")
    listed.write_text(
        f'<?xml version="1.0"?><Chapters><EditionEntry>{atoms}</EditionEntry></Chapters>'
    )
    return merged(path, "--chapters", listed, base)


def chapters_of(path: Path) -> list[tuple[str, float]]:
    found = ffprobe(path, "-show_chapters")["chapters"]
    return [(each["tags"]["title"], float(each["start_time"])) for each in found]


def test_chapters_that_are_not_in_order_are_kept(tmp_path: Path, base: Path) -> None:
    """FFmpeg's reader skips each that begins no later than one before it."""
    source = with_chapters(tmp_path / "a.mkv", base, Second=0.4, First=0, Again=0.4)
    assert read_info(source).chapters == 3
    converted(source, tmp_path / "out.mkv")
    was, now = extracted(source), extracted(tmp_path / "out.mkv")
    assert now == was
    for kind in ("mp4", "mov"):
        report = converted(source, tmp_path / f"out.{kind}")
        found = chapters_of(tmp_path / f"out.{kind}")
        assert found == [("First", 0), ("Second", 0.4), ("Again", 0.4)]
        assert not any("chapter" in note for note in report.notes)


def test_mp4_lists_the_chapters_of_the_default_edition(tmp_path: Path, base: Path) -> None:
    with_chapters(tmp_path / "a.mkv", base, A=0, B=0.4)
    with_chapters(tmp_path / "b.mkv", base, C=0, D=0.6)
    (first, other) = ((tmp_path / name).read_text() for name in ("a.xml", "b.xml"))
    marked = "</EditionEntry><EditionEntry><EditionFlagDefault>1</EditionFlagDefault>"
    atoms = other.split("<EditionEntry>")[1]
    (tmp_path / "c.xml").write_text(first.replace("</EditionEntry></Chapters>", marked + atoms))
    source = merged(tmp_path / "c.mkv", "--chapters", tmp_path / "c.xml", base)
    report = converted(source, tmp_path / "out.mp4")
    assert chapters_of(tmp_path / "out.mp4") == [("C", 0), ("D", 0.6)]
    assert any("2 editions" in note for note in report.notes)


@pytest.mark.parametrize("kind", ["mkv", "mp4", "mov"])
def test_a_first_chapter_after_the_beginning_is_kept_or_told(
    tmp_path: Path, base: Path, kind: str
) -> None:
    source = with_chapters(tmp_path / "a.mkv", base, A=0.2, B=0.6)
    report = converted(source, tmp_path / f"out.{kind}")
    notes = [note for note in report.notes if "chapter" in note]
    if kind == "mkv":
        assert (chapters_of(tmp_path / "out.mkv"), notes) == ([("A", 0.2), ("B", 0.6)], [])
        return
    assert chapters_of(tmp_path / f"out.{kind}") == [("A", 0), ("B", 0.6)]
    told = "the first chapter begins at 0 instead of 0:00:00.200"
    assert notes == [f"{told}: chapters of {kind.upper()} leave no gap"]


@pytest.mark.parametrize("end", [None, 55])
@pytest.mark.parametrize("kind", ["mkv", "mp4", "mov"])
def test_a_chapter_beyond_the_end_makes_no_film_longer(
    tmp_path: Path, base: Path, kind: str, end: float | None
) -> None:
    source = with_chapters(tmp_path / "a.mkv", base, end=end, In=0, Late=0.6, Beyond=50)
    target = tmp_path / f"out.{kind}"
    report = converted(source, target)
    assert float(ffprobe(target, "-show_format")["format"]["duration"]) < 0.9
    notes = [note for note in report.notes if "chapter" in note]
    inside = [("In", 0), ("Late", 0.6)]
    if kind == "mkv":
        assert (chapters_of(target), notes) == ([*inside, ("Beyond", 50)], [])
        return
    assert chapters_of(target) == inside
    (note,) = notes
    assert note.startswith("chapters left out, because the film ends at 0:00:00.8")
    assert note.endswith(": Beyond (0:00:50.000)")


def test_a_chapter_while_sound_goes_on_after_the_picture_is_kept(tmp_path: Path) -> None:
    made = ("-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=0.4", "-f", "lavfi", "-i", "sine=d=2")
    coded = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", tmp_path / "s.mkv")
    subprocess.run([need("ffmpeg"), "-v", "error", *made, *coded], check=True)
    source = with_chapters(tmp_path / "a.mkv", tmp_path / "s.mkv", A=0, B=1.5)
    report = converted(source, tmp_path / "out.mp4")
    assert chapters_of(tmp_path / "out.mp4") == [("A", 0), ("B", 1.5)]
    assert not any("chapter" in note for note in report.notes)


def test_transparency_is_told(tmp_path: Path) -> None:
    for name, coded in (
        ("a.webm", "-c:v libvpx-vp9 -pix_fmt yuva420p"),
        ("a.mov", "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le"),
        ("a.mkv", "-c:v ffv1 -pix_fmt yuva420p"),
    ):
        lavfi = "testsrc2=s=64x64:r=25:d=0.2,format=yuva420p,colorchannelmixer=aa=0.5"
        command = [
            need("ffmpeg"),
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            lavfi,
            *coded.split(),
            tmp_path / name,
        ]
        subprocess.run(command, check=True)
        report = converted(tmp_path / name, tmp_path / f"out-{name}.mkv", container="mkv")
        assert any("transparency left out" in note for note in report.notes), name


@pytest.mark.parametrize("clear", [True, False])
def test_transparency_of_a_gif_is_told_where_a_pixel_has_it(tmp_path: Path, clear: bool) -> None:
    """FFmpeg gives pictures of every GIF with transparency."""
    ramp = Image.linear_gradient("L").resize((64, 64))
    pictures = [ramp.point(lambda code, n=n: (code // 2 + 10 * n) % 200) for n in range(4)]
    for each in pictures:
        each.putpixel((3, 3), 250)
    which = {"transparency": 250} if clear else {}
    more = {"save_all": True, "append_images": pictures[1:], "duration": 40, "disposal": 2}
    pictures[0].save(tmp_path / "a.gif", **more, **which)
    report = converted(tmp_path / "a.gif", tmp_path / "out.mkv")
    assert any("transparency left out" in note for note in report.notes) is clear


def test_what_a_header_says_of_a_picture_that_is_turned_is_named(
    tmp_path: Path, base: Path
) -> None:
    marked = merged(tmp_path / "b.mkv", "--stereo-mode", "0:1", base)
    source = edited(tmp_path / "a.mkv", marked, pixel_crop_left=16, projection_pose_roll=90)
    assert read_info(source).turn.transpose
    for name in ("out.mkv", "out.mp4"):
        report = converted(source, tmp_path / name)
        assert any("two views (side by side, left eye first) left out" in n for n in report.notes)
        assert any("the crop (16 left) left out" in n for n in report.notes)
        assert (report.width, report.height) == read_info(tmp_path / name).size


def test_a_rotation_that_is_no_quarter_is_kept_in_mkv_and_named_elsewhere(
    tmp_path: Path, base: Path
) -> None:
    tilted = edited(tmp_path / "a.mkv", base, projection_pose_roll=30)
    kept = converted(tilted, tmp_path / "kept.mkv")
    assert not any("rotation" in note for note in kept.notes)
    assert tracks(tmp_path / "kept.mkv")[0]["projection_pose_roll"] == pytest.approx(30, abs=0.01)
    report = converted(tilted, tmp_path / "out.mp4")
    assert "the rotation by 30 degrees left out: it is written to MKV alone" in report.notes

    beyond = edited(tmp_path / "b.mkv", base, projection_pose_roll=100)
    assert read_info(beyond).turn.transpose
    report = converted(beyond, tmp_path / "turned.mkv")
    assert any("the rotation by 10 degrees left out" in note for note in report.notes)

    quarter = edited(tmp_path / "c.mkv", base, projection_pose_roll=90)
    report = converted(quarter, tmp_path / "quarter.mp4")
    assert not any("rotation" in note for note in report.notes)


TAGS = """<?xml version="1.0"?><Tags>
<Tag><Targets><TargetTypeValue>50</TargetTypeValue></Targets>{film}</Tag>
<Tag><Targets><ChapterUID>1</ChapterUID></Targets>{chapter}</Tag>
<Tag><Targets><EditionUID>22</EditionUID></Targets>{edition}</Tag>
</Tags>"""
CHAPTER_LIST = """<?xml version="1.0"?><Chapters><EditionEntry><EditionUID>22</EditionUID>{ordered}
<ChapterAtom><ChapterUID>1</ChapterUID><ChapterTimeStart>00:00:00.0</ChapterTimeStart>
<ChapterTimeEnd>00:00:00.4</ChapterTimeEnd>
<ChapterDisplay><ChapterString>One</ChapterString><ChapterLanguage>eng</ChapterLanguage></ChapterDisplay>
</ChapterAtom></EditionEntry></Chapters>"""


def tag(name: str, inner: str = "<String>words</String>") -> str:
    return f"<Simple><Name>{name}</Name>{inner}</Simple>"


@pytest.mark.parametrize("ordered", [False, True])
def test_tags_that_are_not_written_as_they_were_meant_are_named(
    tmp_path: Path, base: Path, ordered: bool
) -> None:
    def tagged(name: str, **tags: str) -> Path:
        every = {"film": tag("COMMENT"), "chapter": "", "edition": "", **tags}
        lines = [
            line for line in TAGS.format(**every).splitlines() if "</Targets></Tag>" not in line
        ]
        (tmp_path / "tags.xml").write_text("\n".join(lines))
        order = "<EditionFlagOrdered>1</EditionFlagOrdered>" if ordered else ""
        (tmp_path / "list.xml").write_text(CHAPTER_LIST.format(ordered=order))
        lists = ("--chapters", tmp_path / "list.xml", "--global-tags", tmp_path / "tags.xml")
        return merged(tmp_path / name, *lists, base)

    def about_tags(source: Path, kind: str) -> set[str]:
        report = converted(source, tmp_path / f"out-{source.stem}.{kind}")
        return {note for note in report.notes if re.search(r"\btags\b", note)}

    plain = tagged("plain.mkv")
    assert about_tags(plain, "mkv") == set()
    of_chapter = tagged("chapter.mkv", chapter=tag("DIRECTOR"))
    lost = {"tags of chapters left out"}
    assert about_tags(of_chapter, "mkv") == (lost if ordered else set())
    if not ordered:
        with av.open(str(tmp_path / "out-chapter.mkv")) as file:
            assert file.chapters()[0]["metadata"]["DIRECTOR"] == "words"
    assert lost <= about_tags(of_chapter, "mp4")
    rest = tagged(
        "rest.mkv",
        film=tag("COVER", "<Binary>AAECAw==</Binary>")
        + tag("ACTOR", "<String>a</String>" + tag("URL")),
        edition=tag("SUBTITLE"),
    )
    assert about_tags(rest, "mkv") == {
        "binary tags left out",
        "tags of an edition written as the film's",
        "tags within tags written beside them, under both names",
    }
