"""The word lists of the Pocket stories: what they are about, likeliest first.

Each list is a ``Pool`` of records; a record gives every form of a fact that a template may ask for. The stories
themselves are in American spelling, as TinyStories are.
"""

from collections.abc import Iterable

from pn_lib.data.pocket.cast import CHILDREN, CREATURES, FAMILY, HEROES, NEIGHBORS
from pn_lib.data.pocket.templates import Pool, Record, table, words


def pool(records: Iterable[Record], *unlike: str) -> Pool:
    return Pool({"": tuple(records)}, unlike=unlike)


HOBBIES = table(
    "name past",
    """
    sing songs / sang songs
    paint pictures / painted pictures
    play hide-and-seek / played hide-and-seek
    dance / danced
    climb trees / climbed trees
    tell funny stories / told funny stories
    jump in puddles / jumped in puddles
    pick flowers / picked flowers
    blow bubbles / blew bubbles
    play catch / played catch
    draw animals / drew animals
    fly paper planes / flew paper planes
    watch the birds / watched the birds
    roll down hills / rolled down hills
    build stone towers / built stone towers
    collect leaves / collected leaves
    jump rope / jumped rope
    find shiny stones / found shiny stones
    count the clouds / counted the clouds
    make flower crowns / made flower crowns
""",
)

# Where things get lost and found; every spot is one where anything that a child carries may lie.
SPOTS = {
    at: words(spots)
    for at, spots in {
        "in the park": "under a bench, behind the slide, next to the fountain, near the oak tree, "
        "beside the swings, beside the gate",
        "in the forest": "under a fern, behind a fallen log, in a hollow tree, beside a little stream, "
        "between two rocks, on the soft moss",
        "at the beach": "behind a sand castle, under a beach towel, between two rocks, next to a blue "
        "boat, in the seaweed, near the water",
        "in the garden": "under a rose bush, behind the shed, between the bean plants, in the "
        "wheelbarrow, next to the well, beside the pumpkins",
        "on the farm": "behind a haystack, under an old cart, next to the henhouse, by the water "
        "trough, in the barn, beside the tractor",
        "in the meadow": "in the tall grass, under a bush, between the daisies, next to a big stone, by "
        "the wooden fence, behind a tree stump",
        "by the river": "under the bridge, between the reeds, behind a rock, next to an old boat, on a "
        "flat stone, under a willow tree",
        "at the market": "under a table, behind an apple barrel, next to the bread stall, between two "
        "baskets, beside the flower cart, in an empty box",
        "on the hill": "behind a bush, in the tall grass, under an apple tree, next to a big stone, "
        "between two roots, beside the path",
        "in the orchard": "under a pear tree, behind a ladder, in an empty basket, next to the stone "
        "wall, beside the beehives, under some leaves",
        "by the lake": "under the dock, between the reeds, next to a red canoe, behind a picnic table, "
        "on a flat stone, near the pine tree",
        "at the old castle": "behind a broken wall, under a stone arch, on the stairs, next to the well, "
        "beside the wooden door, under a window",
        "at the playground": "in the sandbox, behind the slide, under the seesaw, beside the swings, next to "
        "a bench, near the gate",
        "at the train station": "under a bench, behind the clock, next to a suitcase, beside the ticket window, "
        "on the steps, by the flower pots",
    }.items()
}
PLACES = tuple({"name": at, "at": at, "to": "to " + at.split(" ", 1)[1]} for at in SPOTS)

COLOURS = words("red, blue, green, yellow, purple, orange, pink, white, brown, gray, golden, silver")
HIDING_PLACES = words("""
    under the bed, behind the curtain, in the toy box, under the rug, behind the sofa, in the big boots,
    under the stairs, behind the bookshelf, in the laundry basket, in the drawer, under the pillow, in the
    closet
""")
NOOKS = words("""
    under the bed, behind the curtain, in the closet, behind the sofa, under the stairs, in the toy box,
    behind the bookshelf, in the laundry basket, under the table, behind the door, in the bathtub
""")
WEEKDAYS = words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday", many="{}s")

POOLS = {
    "break": pool(({"name": " "}, {"name": "\n\n"})),
    "hero": pool(HEROES),
    "friend": Pool(
        {hero["name"]: CREATURES if hero in CREATURES else CHILDREN for hero in HEROES}, by="hero", unlike=("hero",)
    ),
    "giver": pool(FAMILY),
    "helper": pool(NEIGHBORS),
    "trait": pool(
        words("""
        kind, curious, cheerful, clever, friendly, gentle, playful, funny, helpful, happy, lively, polite,
        smart, merry, thoughtful, dreamy
    """)
    ),
    "hobby": pool(HOBBIES),
    "day": pool(
        words("""
        one day, one sunny day, one morning, one warm afternoon, one Saturday, one bright morning, one fine
        day, one windy day, one summer day, one spring morning, one quiet afternoon, one cloudy day
    """)
    ),
    "colour": pool(COLOURS),
    "place": pool(PLACES),
    "spot": Pool(SPOTS, by="place", unlike=("wrong", "empty")),
    "wrong": Pool(SPOTS, by="place", unlike=("spot", "empty")),
    "empty": Pool(SPOTS, by="place", unlike=("spot", "wrong")),
    # lost
    "keepsake": pool(
        words("""
        hat, ball, kite, scarf, teddy bear, book, toy boat, umbrella, doll, drum, whistle, toy car,
        backpack, blanket, bucket, toy train, flute, lantern, yo-yo, ribbon, toy rabbit, purse, music box,
        necklace
    """)
    ),
    "junk": pool(
        words("""
        a sleepy snail, an old shoe, some dry leaves, a busy ant, a broken cup, a fat worm, a shiny button,
        some pebbles, a gray feather, a bottle cap, an empty can, a lost sock
    """)
    ),
    # stuck
    "toy": pool(
        table(
            "name escape",
            """
        ball / it flew much too high
        kite / the wind caught it
        balloon / the wind picked it up
        paper plane / the wind carried it away
        frisbee / it flew up and away
        hat / a gust of wind caught it
        rubber ring / it flew much too high
        scarf / the wind carried it away
        toy bird / it flew much too high
        beanbag / it flew up and away
    """,
        )
    ),
    "yard": pool(
        words("""
        in the yard, in the park, in the garden, behind the house, on the village green, near the old mill,
        in front of the school, on the farm, next to the church, behind the bakery
    """)
    ),
    "high": pool(
        table(
            "name again",
            """
        in a tall oak tree / in the tall oak tree
        on a barn roof / on the barn roof
        on a high wall / on the high wall
        in a pear tree / in the pear tree
        on a garage roof / on the garage roof
        on a lamp post / on the lamp post
        on a school roof / on the school roof
        in a thorny hedge / in the thorny hedge
        on a tall gate / on the tall gate
        in a maple tree / in the maple tree
    """,
        )
    ),
    "attempt": pool(
        words("""
        jumped as high as they could, threw little pebbles at it, stood on a wooden box, stood on their
        toes, waved a jacket at it, blew at it very hard, climbed onto a bucket, tossed a shoe at it
    """)
    ),
    "tool": pool(
        table(
            "name used",
            """
        ladder / climbed up
        long stick / gave a good push
        fishing rod / swung it high
        broom / reached up high
        rake / pulled hard
        fishing net / reached up high
        long rope / threw it high
        pole / gave a good push
        tall stool / climbed up
        mop / reached up high
    """,
        )
    ),
    # found
    "baby": pool(
        table(
            "name mother cry at to",
            """
        duckling / mother duck / Peep, peep! / at the pond / to the pond
        kitten / mother cat / Meow, meow! / behind the bakery / to the bakery
        lamb / mother sheep / Baa, baa! / in the green field / to the green field
        puppy / mother dog / Woof, woof! / near the farmhouse / to the farmhouse
        chick / mother hen / Cheep, cheep! / in the henhouse / to the henhouse
        piglet / mother pig / Oink, oink! / in the mud puddle / to the mud puddle
        calf / mother cow / Moo, moo! / in the cowshed / to the cowshed
        foal / mother horse / Neigh, neigh! / in the stable / to the stable
        gosling / mother goose / Honk, honk! / on the island / to the island
        fawn / mother deer / Bleat, bleat! / in the woods / to the woods
        owlet / mother owl / Hoo, hoo! / in the bell tower / to the bell tower
        cub / mother bear / Grr, grr! / near the cave / to the cave
    """,
        )
    ),
    "mark": pool(
        words("""
        white spot on its nose, black ring around one eye, dark stripe down its back, white star on its
        chest, brown patch on its back, tiny curl on its head, crooked little tail, gray spot behind its
        ear, white tip on its tail, black dot on its chin
    """)
    ),
    "pet": pool(
        words("""
        Button, Pepper, Biscuit, Snowball, Peanut, Cookie, Muffin, Pickle, Bean, Poppy, Waffles, Pumpkin,
        Acorn, Nugget, Sprout, Pebble
    """)
    ),
    # afraid
    "fear": pool(
        table(
            "name do did",
            """
        the big slide / go down the big slide / went down the big slide
        deep water / swim across the pond / swam across the pond
        the dark / go into the dark cave / went into the dark cave
        high places / climb up the tower / climbed up the tower
        the wobbly bridge / cross the wobbly bridge / crossed the wobbly bridge
        big waves / jump over the big waves / jumped over the big waves
        singing on a stage / sing on the big stage / sang on the big stage
        the high swing / ride on the high swing / rode on the high swing
        the neighbor's huge dog / pet the huge dog / petted the huge dog
        the steep hill / sled down the steep hill / sledded down the steep hill
        the creaky attic / explore the creaky attic / explored the creaky attic
        jumping over the stream / jump over the stream / jumped over the stream
    """,
        )
    ),
    "worry": pool(
        words("""
        thunder, spiders, the first day of school, bees, the dentist, loud noises, bad dreams, getting lost,
        barking dogs, the big test
    """)
    ),
    "trick": pool(
        table(
            "name past",
            """
        count to ten / counted to ten
        take three deep breaths / took three deep breaths
        hum a happy tune / hummed a happy tune
        think of warm pancakes / thought of warm pancakes
        clap two times / clapped two times
        whistle a little song / whistled a little song
        wiggle all ten toes / wiggled all ten toes
        smile at the sky / smiled at the sky
        say the alphabet / said the alphabet
        count to one hundred / counted to one hundred
        think of a rainbow / thought of a rainbow
        make a silly face / made a silly face
    """,
        )
    ),
    # broken
    "treasure": pool(
        words("""
        vase, teapot, bowl, cup, lamp, flower pot, cookie jar, plate, mug, sugar bowl, pitcher, candle
        holder, picture frame, clay bird, butter dish, jug
    """)
    ),
    "hiding": pool(HIDING_PLACES, "elsewhere"),
    "elsewhere": pool(HIDING_PLACES, "hiding"),
    "mischief": pool(
        words("""
        playing ball, dancing, playing tag, chasing each other, jumping around, throwing pillows, playing
        pirates, spinning around
    """)
    ),
    # missing
    "dish": pool(
        table(
            "name ate lacks",
            """
        cake / took a big bite / eggs, flour, butter, sugar
        soup / ate two whole bowls / carrots, onions, potatoes, beans
        apple pie / took a big bite / apples, flour, cinnamon, sugar
        bread / took a big bite / flour, yeast, salt, seeds
        berry jam / licked the spoon / berries, sugar, lemons
        pudding / ate it all up / milk, eggs, vanilla, cream
        porridge / ate the whole bowl / oats, milk, honey, raisins
        lemon tea / drank it all up / lemons, honey, mint leaves
        fruit salad / ate it all up / pears, grapes, plums, strawberries
        pizza / took a big bite / cheese, tomatoes, flour, peppers
    """,
        )
    ),
    "reason": pool(
        table(
            "name after",
            """
        who was sick in bed / felt much better
        who had a birthday / had a wonderful birthday
        who was feeling sad / was not sad anymore
        who had hurt a knee / forgot the sore knee
        who was feeling lonely / did not feel lonely anymore
        who was new in town / felt right at home
    """,
        )
    ),
    "chore": pool(
        table(
            "name past",
            """
        water the flowers / watered the flowers
        sweep the yard / swept the yard
        feed the hens / fed the hens
        stack the firewood / stacked the firewood
        wash the windows / washed the windows
        pull the weeds / pulled the weeds
        carry the heavy boxes / carried the heavy boxes
        paint the fence / painted the fence
        hang up the laundry / hung up the laundry
        rake the leaves / raked the leaves
        brush the pony / brushed the pony
        dust the shelves / dusted the shelves
    """,
        )
    ),
    # gift
    "nook": pool(NOOKS, "cold"),
    "cold": pool(NOOKS, "nook"),
    "craft": pool(
        table(
            "name make stuff flaw",
            """
        scarf / knit / soft wool / was full of holes
        kite / build / paper and sticks / crashed right away
        toy boat / build / wood and string / sank right away
        pillow / sew / cloth and feathers / came apart
        basket / weave / thin straw / had a hole in the bottom
        puppet / make / socks and buttons / lost its head
        drum / build / a tin and some cloth / made no sound
        bracelet / make / beads and thread / came undone
        birdhouse / build / wood and nails / fell over
        paper crown / make / paper and glue / was much too small
        mask / make / paper and feathers / ripped in half
        blanket / knit / thick wool / was too short
    """,
        )
    ),
    # quarrel
    "prize": pool(
        words("""
        wagon, scooter, kite, drum, sled, hoop, toy truck, rocking horse, bicycle, pogo stick, trumpet, toy
        plane, jump rope, spyglass
    """)
    ),
    "weekday": pool(WEEKDAYS, "other"),
    "other": pool(WEEKDAYS, "weekday"),
    # planted
    "plant": pool(
        table(
            "name did gift",
            """
        sunflower / was taller than the fence / a handful of seeds
        pumpkin / was as big as a wheel / a pot of pumpkin soup
        strawberry plant / was full of sweet red berries / a bowl of strawberries
        rose bush / was covered in flowers / a bunch of roses
        bean plant / had reached the roof / a basket of beans
        tomato plant / was heavy with round tomatoes / a bag of tomatoes
        melon / was too heavy to lift / a big slice of melon
        blueberry bush / was full of sweet berries / a jar of blueberries
    """,
        )
    ),
    "bed": pool(
        table(
            "name again",
            """
        next to the fence / next to the fence
        behind the shed / behind the shed
        under the kitchen window / under the kitchen window
        in a clay pot / in the clay pot
        by the garden gate / by the garden gate
        beside the well / beside the well
        near the old wall / near the old wall
        behind the barn / behind the barn
        in an old bucket / in the old bucket
        by the front steps / by the front steps
    """,
        )
    ),
    "chance": pool(
        words("""
        two weeks, ten days, three weeks, a month, twelve days, five weeks, nine days, six weeks
    """)
    ),
}
POOLS["missing"] = Pool({dish["name"]: words(dish["lacks"]) for dish in POOLS["dish"].options[""]}, by="dish")
