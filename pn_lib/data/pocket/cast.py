"""Who appears in the Pocket stories: heroes and friends, their families, their neighbors; likeliest first."""

from pn_lib.data.pocket.templates import Record, table

PRONOUNS = {"she": {"he": "she", "him": "her", "his": "her"}, "he": {"he": "he", "him": "him", "his": "his"}}


def grown_ups(rows: str) -> tuple[Record, ...]:
    """Records of people from lines ``name / she or he``."""
    return tuple({"name": row["name"], **PRONOUNS[row["he"]]} for row in table("name he", rows))


GIRLS = """Lily Mia Anna Sara Lucy Emma Zoe Ella Molly Nora Ruby Grace
           Ivy Clara Daisy Maya Amy Holly Jane Alice Eva Olive June Kate"""
BOYS = """Tom Ben Tim Sam Max Jack Leo Finn Noah Oscar Adam Theo
          Henry Luke Eli Joe Owen Peter Hugo Milo Paul Ryan Will Nick"""
ANIMALS = table(
    "name kind he",
    """
    Pip / mouse / he
    Bella / rabbit / she
    Bruno / bear / he
    Fern / fox / she
    Rusty / squirrel / he
    Dot / duck / she
    Hoppy / frog / he
    Hazel / hedgehog / she
    Otto / otter / he
    Tilly / turtle / she
    Rory / raccoon / he
    Mimi / cat / she
    Scout / puppy / he
    Bonnie / beaver / she
    Moe / mole / he
    Gigi / goat / she
""",
)


def cast() -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The children, a girl and a boy by turns, and the animals; ``full`` is how a friend is introduced."""
    children = [
        {"name": name, "kind": kind, "full": name, **PRONOUNS[he]}
        for pair in zip(GIRLS.split(), BOYS.split(), strict=True)
        for name, kind, he in zip(pair, ("girl", "boy"), ("she", "he"), strict=True)
    ]
    animals = [{**row, "full": f"{row['name']} the {row['kind']}", **PRONOUNS[row["he"]]} for row in ANIMALS]
    return tuple(children), tuple(animals)


CHILDREN, CREATURES = cast()
# Three children, then an animal, and so on: both sorts are common.
HEROES = tuple(hero for i, animal in enumerate(CREATURES) for hero in (*CHILDREN[3 * i : 3 * i + 3], animal))

FAMILY = grown_ups("""
    Grandma / she
    Mom / she
    Grandpa / he
    Dad / he
    Aunt Rosa / she
    Uncle Fred / he
    Aunt Polly / she
    Uncle Bob / he
    Great-Grandma / she
    Great-Grandpa / he
""")
NEIGHBORS = grown_ups("""
    Mrs. Green / she
    Mr. Hill / he
    the farmer / he
    the baker / she
    Miss Bell / she
    the gardener / he
    Wise Owl / she
    Mr. Carter / he
    the teacher / she
    the sailor / he
    Mrs. Lopez / she
    the shepherd / he
    Captain Gray / he
    the milkmaid / she
    Doctor Wood / she
    the miller / he
""")
