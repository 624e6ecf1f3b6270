"""Twenty prompts of 5 to 80 tokens of the bundled model; its next token is what is explained.

Facts, opposites, arithmetic, stories, lists, code and dialogue: most have one or two words that
should decide the answer, some have many.
"""

PROMPTS = (
    "The capital of France is",
    "The opposite of hot is",
    "One plus two plus three equals",
    "Water is made of hydrogen and",
    "The first president of the United States was George",
    "Roses are red, violets are",
    "Monday, Tuesday, Wednesday, Thursday,",
    "My mother's brother is my uncle, and my mother's sister is my",
    "The largest planet in our solar system is the gas giant called",
    "In winter the lake is covered with ice, but in summer people go there to",
    "She opened the umbrella because it had suddenly started to",
    "def add(a, b):\n    return a +",
    "When my flight landed in Thailand, I converted my currency and slowly fell asleep. I was "
    "staying in the capital city of",
    "Anna was hungry, so she went to the kitchen and made a sandwich. Why did Anna make a "
    "sandwich? Because she was",
    "The food was delicious and the staff were friendly, but we waited for an hour. Overall, the "
    "review of this restaurant is",
    "Question: Which animal is known as the king of the jungle and lives in groups called prides?\n"
    "Answer: The",
    "Tom has a red ball and Lisa has a blue kite. They meet in the park and swap their toys. Now "
    "Tom plays with the",
    "Ingredients: two eggs, a cup of flour, a glass of milk, a spoon of sugar and some butter. "
    "Beat the eggs, add the flour and the milk, and stir until smooth. Heat the butter in a pan "
    "and bake thin",
    "Dear Mr. Keller, thank you for your letter of 3 May. We are sorry to hear that the washing "
    "machine you bought from us in April does not work any more. Our technician will visit you "
    "next week in order to repair the",
    "The village lies in a quiet valley between two hills. Maria works in the small library next "
    "to the school. She keeps the key of the library under the red flowerpot behind the house. "
    "On Sunday she visits her aunt in the city by train. Her brother repairs bicycles in a "
    "workshop near the station. When Maria wants to open the "
    "library in the morning, she takes the key from under the red",
)
